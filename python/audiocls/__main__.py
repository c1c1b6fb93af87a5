from audiocls.cli import main

main()

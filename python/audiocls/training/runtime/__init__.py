"""What training needs of the machine: device, memory, randomness, interruption."""

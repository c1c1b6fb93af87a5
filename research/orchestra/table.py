"""What models said of sources that they had not heard, as one table.

python research/orchestra/table.py FOLDER [FOLDER …]

"""

import sys
from pathlib import Path
from collections import Counter
import numpy as np
from sklearn.metrics import recall_score
from leave_out import Answers, read_arrays, HOME, STRANGE
from audiocls.scores.metrics import softmax, mean_by_recording, expected_calibration_error
from audiocls.classifier.answers import closed_set, certainty

TEST = ("kay-banjo", "ethan-winer", "gtown")


def bal(l, s):
    return 100 * recall_score(l, s, labels=sorted(set(l)), average="macro", zero_division=0)


def per(a, T=1.0, b=0.0):
    out = {}
    classes = list(a.classes)
    known = np.array([c for c in classes if c != "unknown"])
    p = softmax(a.logits / T + b)
    w = mean_by_recording(p, a.recording, a.counts)[0]
    for s in sorted(set(a.source)):
        r = (a.source == s) & (a.label != "unknown")
        if not r.any():
            continue
        k = r[a.recording]
        c = closed_set(w[r], classes)
        cc = closed_set(p[k], classes)
        l = a.label[r]
        lc = a.label[a.recording[k]]
        said = known[c.argmax(1)]
        out[s] = (
            bal(l, said),
            bal(lc, known[cc.argmax(1)]),
            100 * expected_calibration_error(c, np.searchsorted(known, l)),
            Counter(f"{x}>{y}" for x, y in zip(l, said) if x != y).most_common(3),
            100 * expected_calibration_error(cc, np.searchsorted(known, lc)),
        )
    return out


def main():
    T = float(sys.argv[1])
    cols = {}
    for f in sys.argv[2:]:
        f = Path(f)
        files = [f] if f.suffix else sorted(f.glob("answers-fold*.npz"))
        acc = {}
        for x in files:
            for s, v in per(read_arrays(Answers, x), T).items():
                acc.setdefault(s, []).append(v)
        cols[str(f)] = {
            s: (
                np.mean([v[0] for v in vs]),
                np.mean([v[1] for v in vs]),
                np.mean([v[2] for v in vs]),
                vs[0][3],
            )
            for s, vs in acc.items()
        }
    names = sorted(set().union(*cols.values()))
    for s in names:
        print(
            f"{s:15}",
            *(
                "%5.1f %5.1f ece %4.1f |" % c[s][:3] if s in c else "                |"
                for c in cols.values()
            ),
            [c[s][3] for c in cols.values() if s in c][-1],
        )
    for what, sel in (
        ("MEAN train", lambda s: s not in TEST + (HOME,)),
        ("MEAN test-only", lambda s: s in TEST),
        ("MEAN 14", lambda s: s != HOME),
    ):
        print(
            f"{what:15}",
            *(
                "%5.1f %5.1f ece %4.1f |"
                % tuple(np.mean([v[:3] for s, v in c.items() if sel(s)], axis=0))
                for c in cols.values()
            ),
        )


if __name__ == "__main__":
    main()

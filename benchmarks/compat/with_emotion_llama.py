# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.13.0", "numpy", "pandas", "pillow", "opencv-python-headless"]
# ///
"""Does Emotion-LLaMA's own dataset class read what ``merr export emotion-llama`` wrote?

    uv run --script benchmarks/compat/with_emotion_llama.py FOLDER CHECKOUT

CHECKOUT is a clone of ZebangCheng/Emotion-LLaMA, which is no package; of it one file is run,
minigpt4/datasets/datasets/first_face.py (the version whose paths are arguments). The three
features that the export does not make are zeros here. Every line of both lists is asked for, with
each task that it has a text for. Exit code 1 where the class fails, or gives words, label or text
that are not those of the files.
"""

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

FEATURES = ("mae_340_UTT", "maeV_399_UTT", "HL-UTT")
TASKS = {"coarse": ("reason", "caption"), "fine": ("reason_v2", "smp_reason_caption")}


def main() -> None:
    """Ask for every sample."""
    folder, checkout = Path(sys.argv[1]).absolute(), Path(sys.argv[2])
    place = checkout / "minigpt4/datasets/datasets/first_face.py"
    spec = importlib.util.spec_from_file_location("first_face", place)
    first_face = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(first_face)
    with tempfile.TemporaryDirectory() as made:
        paths = dict.fromkeys(
            ("face_feature_path", "video_feature_path", "audio_feature_path"), made
        )
        for granularity, (task, key) in TASKS.items():
            annotations = folder / f"MERR_{granularity}_grained.txt"
            known = json.loads(annotations.with_suffix(".json").read_text("utf-8"))
            for name in known:
                path = Path(made) / f"{name}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, np.zeros(1024, np.float32))
            samples = first_face.FeatureFaceDataset(
                lambda image: image,
                lambda text: text,
                str(folder / "video"),
                str(annotations),
                **paths,
            )
            for asked in ("emotion", task):
                samples.task_pool = [asked]
                for index in range(len(samples)):
                    sample = samples[index]
                    record = known[sample["image_id"]]
                    wanted = record["pseu_emotion"] if asked == "emotion" else record[key]
                    assert sample["answer"] == wanted
                    assert "says: nan." not in sample["instruction_input"]
                    assert record.get("text", "") in sample["instruction_input"]
                    assert sample["image"].width > 0
            print(f"{annotations.name}: {len(samples)} clips, accepted by Emotion-LLaMA")


if __name__ == "__main__":
    main()

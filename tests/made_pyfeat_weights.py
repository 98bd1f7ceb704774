"""Weights for the real py-feat that know nothing of faces, and what py-feat itself makes of them.

To be run by the Python of the tool's own environment, with a folder and some pictures. It writes
every file that both detectors load, of the shapes of py-feat's own networks, and then the table of
each detector for the pictures, as ``FOLDER/v1.csv`` and ``FOLDER/v2.csv``, by the route that the
tool does not take: from files, one at a time.

All weights are random, but for these:

* RetinaFace: one channel carries the brightness of the picture through all its layers to the score
  of one size of anchor. A bright blob on a dark ground is a "face" of 64 pixels, nothing else
  is. Its middle is 8 pixels right of the blob's and 8 below, if that is at multiples of 16.
* the landmarks: those of a calm face, so that a face can be cut out along them.
* v1's Action Units: each classifier gives one probability of its own, whatever it sees, which tells
  whether the columns come in the right order.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "merr_pipeline" / "face" / "tools"))

import pyfeat_program

FOLDER, PICTURES = Path(sys.argv[1]), sys.argv[2:]
PLACES = {
    file: FOLDER / file
    for file in (
        "retinaface_r34/model.safetensors",
        "mobilefacenet/mobilefacenet_model_best.pth.tar",
        "pose_mlp_v2/pose_mlp_v2.safetensors",
        "pose_mlp_v2/pose_mlp_v2.json",
        "xgb_au/xgb_au_classifier_v2.skops",
        "l2cs/l2cs_gaze360_resnet50.safetensors",
        "face_multitask_v2/face_multitask_v28.safetensors",
    )
}
WEIGHTS = {file: str(path) for file, path in PLACES.items()}
pyfeat_program.give_weights(WEIGHTS)  # py-feat takes hold of the hub when it is imported

import feat  # noqa: E402
import numpy as np  # noqa: E402
import skops.io  # noqa: E402
import torch  # noqa: E402
import xgboost  # noqa: E402
from feat.au_detectors.StatLearning.SL_test import XGBClassifier  # noqa: E402
from feat.face_detectors.Retinaface.Retinaface_model import RetinaFace  # noqa: E402
from feat.gaze_detectors.l2cs import l2cs_resnet50  # noqa: E402
from feat.landmark_detectors.mobilefacenet_test import MobileFaceNet  # noqa: E402
from feat.multitask.model_v2 import MEGraphAUv2, ModelV2Config  # noqa: E402
from feat.utils.blendshape_to_au import DLIB68_FROM_MP478  # noqa: E402
from feat.utils.face_pose_mlp import PoseMLP  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

BRIGHT = 90.0  # above the mean that RetinaFace takes away, on a scale of 255: from here a face
STEEP = 0.1
HOG_FEATURES = 5408
LANDMARK_NUMBERS = 136


def calm_face() -> np.ndarray:
    """68 points in the unit square, as they lie in a crop of a face."""
    path = Path(feat.__path__[0]) / "resources" / "neutral_face_coordinates.csv"
    with path.open(newline="") as table:
        points = np.array([[float(row["x"]), float(row["y"])] for row in csv.DictReader(table)])
    low, high = points.min(axis=0), points.max(axis=0)
    return 0.15 + 0.7 * (points - low) / (high - low)


def pass_on(layer: torch.nn.Conv2d) -> None:
    """Let channel 0 of a convolution out as it comes in."""
    weight = layer.weight.data
    weight[0] = 0
    weight[0, 0, weight.shape[2] // 2, weight.shape[3] // 2] = 1


def retinaface() -> dict:
    net = RetinaFace()
    first = net.body["conv1"].weight.data
    first[0] = 1 / first[0].numel()  # the mean of all colours around a pixel
    for name in ("layer1", "layer2", "layer3", "layer4"):
        for block in net.body[name]:
            block.conv2.weight.data[0] = 0
            if block.downsample is not None:
                pass_on(block.downsample[0])
    for layer in (net.fpn.output1, net.fpn.output2):
        pass_on(layer[0])
    net.fpn.output3[0].weight.data[0] = 0  # or the picture comes twice, at two resolutions
    for layer in (net.fpn.merge1, net.fpn.merge2):
        pass_on(layer[0])
    for ssh in (net.ssh1, net.ssh2, net.ssh3):
        pass_on(ssh.conv3X3[0])
    for head in (net.ClassHead, net.BboxHead):
        for layer in head._convs:
            layer.weight.data.zero_()
            layer.bias.data.zero_()
    for layer in net.ClassHead._convs:
        layer.bias.data[[0, 2]] = 30.0  # "no face" wins everywhere
    score = net.ClassHead._convs[1]  # one cell each 16 pixels; its first anchor has 64
    score.bias.data[0] = 0.0
    score.weight.data[1, 0] = STEEP
    score.bias.data[1] = -STEEP * BRIGHT
    return net.state_dict()


def landmarks_net() -> dict:
    net = MobileFaceNet([112, 112], LANDMARK_NUMBERS)
    net.output_layer.bn.weight.data[:] = 0.001
    net.output_layer.bn.bias.data[:] = torch.tensor(calm_face().ravel())
    return {"state_dict": net.state_dict()}


def action_units() -> XGBClassifier:
    random = np.random.default_rng(5)
    hogs = random.random((60, HOG_FEATURES))
    scaler = StandardScaler().fit(hogs)
    pca = PCA(4, random_state=0).fit(scaler.transform(hogs))
    seen = np.hstack([pca.transform(scaler.transform(hogs)), random.random((60, LANDMARK_NUMBERS))])
    shown = random.integers(0, 2, 60)
    classifiers = {}
    for place, unit in enumerate(pyfeat_program.UNITS):
        # its trees weigh next to nothing, so that what it begins with remains
        classifiers[f"AU{unit}"] = xgboost.XGBClassifier(
            n_estimators=2, max_depth=2, learning_rate=1e-6, base_score=probability(place)
        ).fit(seen, shown)
    model = XGBClassifier()
    parts = {f"{kind}_{part}": value
             for part in ("upper", "lower", "full")
             for kind, value in (("scaler", scaler), ("pca_model", pca))}  # fmt: skip
    model.load_weights(**parts, classifiers=classifiers)
    return model


def probability(place: int) -> float:
    """What the classifier of the n-th Action Unit always says."""
    return 0.1 + 0.04 * place


def multitask() -> tuple[dict, str]:
    config = {
        "n_au": 20,
        "n_emotion": 7,
        "n_blendshape": 52,
        "mesh_normalized": True,
        "use_head_v3": True,
        "drop_mefl": True,
        "emotion_use_au_prob": True,
        "gaze_eye_roi": True,
    }
    net = MEGraphAUv2(ModelV2Config(**config, pretrained=False))
    mesh = torch.full((478, 3), 0.5) + 0.3 * torch.rand(478, 3) - 0.15
    mesh[DLIB68_FROM_MP478, :2] = torch.tensor(calm_face(), dtype=torch.float32)
    net.lmk.mlp[-1].bias.data[:] = mesh.ravel()
    net.sc.s.data[:] = torch.randn_like(net.sc.s)  # so that its 20 units differ
    return net.state_dict(), json.dumps(config)


def write_weights() -> None:
    torch.manual_seed(7)
    for path in PLACES.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    detection, landmarks, pose, pose_scale, units, gaze, everything = PLACES.values()
    save_file(retinaface(), detection)
    torch.save(landmarks_net(), landmarks)
    save_file(PoseMLP().state_dict(), pose)
    shape = {"hidden": [512, 256, 128], "dropout": 0.15}
    scale = {"mean": [0.1, -0.05, 0.2, 0.0, 0.0, 5.0], "std": [0.3] * 6}
    architecture = {**shape, "output_normalization": scale}
    pose_scale.write_text(json.dumps({"architecture": architecture}))
    skops.io.dump(action_units(), units)
    eyes = l2cs_resnet50()
    for head in (eyes.fc_yaw_gaze, eyes.fc_pitch_gaze):
        head.weight.data *= 0.01  # or its random scores all point one way
    save_file(eyes.state_dict(), gaze)
    state, config = multitask()
    save_file(state, everything, metadata={"config": config})


def main() -> None:
    write_weights()
    for name in ("v1", "v2"):
        detector = pyfeat_program.open_detector(name, "cpu", WEIGHTS)
        table = detector.detect(PICTURES, data_type="image", batch_size=1, progress_bar=False)
        table.to_csv(FOLDER / f"{name}.csv", index=False)


if __name__ == "__main__":
    main()

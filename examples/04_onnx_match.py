"""Match two pictures with an ONNX file, onnxruntime, numpy and PIL alone.

equiview export --backbone facebook/dinov2-base --features auto --onnx --out features.onnx
python examples/04_onnx_match.py features.onnx a.jpg b.jpg
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image


def features(session, path, patch, long_side):
    """Return unit descriptors [n, c] and the pixel in the middle of each one's patch [n, 2]."""
    picture = Image.open(path).convert("RGB")
    scale = long_side / max(picture.size)
    w, h = (max(2, round(side * scale / patch)) * patch for side in picture.size)
    rgb = np.asarray(picture.resize((w, h), Image.Resampling.BILINEAR), np.float32) / 255
    tokens = session.run(None, {"images": rgb.transpose(2, 0, 1)[None]})[0][0]
    channels, rows, cols = tokens.shape
    tokens = tokens.reshape(channels, -1).T
    j, i = np.meshgrid(np.arange(cols), np.arange(rows))
    places = (np.stack([j, i], -1).reshape(-1, 2) + 0.5) * patch * np.array(picture.size) / (w, h)
    return tokens / np.linalg.norm(tokens, axis=1, keepdims=True), places


session = onnxruntime.InferenceSession(sys.argv[1], providers=onnxruntime.get_available_providers())
stored = session.get_modelmeta().custom_metadata_map
patch, long_side = (json.loads(stored[f"equiview.{name}"]) for name in ("patch", "long_side"))
(a, xy_a), (b, xy_b) = (features(session, path, patch, long_side) for path in sys.argv[2:4])
similarity = a @ b.T
there, back = similarity.argmax(1), similarity.argmax(0)
mutual = [i for i in range(len(a)) if back[there[i]] == i]
for i in sorted(mutual, key=lambda i: -similarity[i, there[i]])[:20]:
    (xa, ya), (xb, yb) = xy_a[i], xy_b[there[i]]
    print(f"{xa:7.1f} {ya:7.1f}  ->  {xb:7.1f} {yb:7.1f}   {similarity[i, there[i]]:.3f}")

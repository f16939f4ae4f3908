"""A program: let cuDNN plan convolutions for an H100 that is not here, and print what it says.

Two things stand in for the card. cuDNN takes a description of a device in place of one; and the
driver, which it wants to find, is a library whose every function says that there is no device.

Run as ``python plan_without_device.py DRIVER``; a line of JSON for each of `CONVOLUTIONS`: the
result asked for, whether TF32 is allowed, bytes of workspace, bytes of x, and the numbers by which
arrays are handed over.
"""

import ctypes
import json
import math
import sys
from itertools import product

from minirpn.accel.cuda import cudnn_plans
from minirpn.nn.window import conv_output_size

DRIVER = """
#define SAY(name) extern "C" int name() { return 100; }
SAY(cuInit) SAY(cuGetErrorString) SAY(cuModuleGetFunction) SAY(cuModuleLoadData)
SAY(cuModuleUnload) SAY(cuTensorMapEncodeIm2col) SAY(cuTensorMapEncodeTiled)
"""
H100 = {
    "deviceName": "NVIDIA H100 80GB HBM3",
    "deviceVer": 900,
    "driverVer": 13000,
    "cudaDeviceId": 0,
    "pciDeviceId": 0x2330,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
    "multiProcessorCount": 132,
    "smCountOrigin": 0,
    "warpSize": 32,
    "maxGridSize": [2**31 - 1, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048,
    "maxCtasPerSM": 32,
    "regsPerBlock": 65536,
    "maxRegistersPerSM": 65536,
    "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448,
    "oversizedSharedMemoryPerBlock": 0,
    "reservedSharedMemoryPerBlock": 1024,
    "l2CacheSize": 50 * 2**20,
    "totalGlobalMem": 80 * 2**30,
    "memoryBusWidth": 5120,
    "smClockRateKHz": 1_980_000,
    "memClockRateKHz": 2_619_000,
}
# (channels, outputs, size, kernel, stride, padding): VGG-16's kinds, the head's, ZF's first two,
# and SqueezeNet's.
CONVOLUTIONS = [
    (3, 64, (600, 1000), 3, 1, 1),
    (64, 64, (600, 1000), 3, 1, 1),
    (128, 256, (150, 250), 3, 1, 1),
    (512, 512, (38, 63), 3, 1, 1),
    (512, 18, (38, 63), 1, 1, 0),
    (3, 96, (601, 999), 7, 2, 3),
    (96, 256, (151, 250), 5, 2, 2),
    (3, 64, (300, 500), 3, 2, 0),
    (16, 64, (75, 125), 1, 1, 0),
]


def convolution(result, tf32, C, outs, size, kernel, stride, padding):
    windows = (kernel,) * 2, (stride,) * 2, (padding,) * 2
    shapes = (1, C, *size), (outs, C, kernel, kernel), (1, outs, *conv_output_size(size, *windows))
    return cudnn_plans.Convolution(result, *shapes, *windows[1:], tf32)


def main(driver):
    ctypes.CDLL(driver, ctypes.RTLD_GLOBAL)
    import cudnn

    device = cudnn.create_device_properties(json.dumps(H100))
    for result, tf32, shape in product(("y", "dx", "dweight"), (False, True), CONVOLUTIONS):
        asked = convolution(result, tf32, *shape)
        plan = cudnn_plans.planned(cudnn, asked, device_property=device)
        x_bytes = 4 * math.prod(asked.x)
        print(json.dumps([result, tf32, plan.workspace_bytes, x_bytes, plan.uids]))


if __name__ == "__main__":
    main(sys.argv[1])

"""python -m clattn: the version, the OpenCL loader, the devices, and the device that is the default."""

import sys

from . import Error, _device, _library, devices, version


def main():
    try:
        print(f"clattn {version()}, OpenCL loader {_library.loader_path}")
        there = devices()
        chosen = _device.select() if there else None
    except (Error, ValueError) as error:
        print(f"clattn: {error}", file=sys.stderr)
        return 1
    for i, device in enumerate(there):
        print(f"{'*' if device == chosen else ' '} {i}  {device}  ({device.kind}, driver {device.driver})")
    if not there:
        print("no device: install a driver, or pip install 'clattn[cpu]' on an x86-64 CPU")
    return 0 if there else 1


if __name__ == "__main__":
    sys.exit(main())

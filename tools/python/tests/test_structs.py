"""The members of _structs.py lie where include/clattn.h has them; the header's structs may go on."""

import ctypes
import pathlib
import shutil
import subprocess

import pytest

from clattn import _structs as s

INCLUDE = pathlib.Path(__file__).parents[3] / "include"
STRUCTS = {"clattn_context_desc": s.ContextDesc, "clattn_desc": s.Desc, "clattn_tensor": s.Tensor,
           "clattn_extras": s.Extras, "clattn_forward_args": s.ForwardArgs,
           "clattn_backward_args": s.BackwardArgs}
NUMBERS = {"CLATTN_F32": s.F32, "CLATTN_F16": s.F16, "CLATTN_BF16": s.BF16,
           "CLATTN_ALIGN_END": s.ALIGN["end"], "CLATTN_ALIGN_START": s.ALIGN["start"],
           "CLATTN_UNBOUNDED": s.UNBOUNDED, "CLATTN_BACKWARD": s.BACKWARD,
           "CLATTN_FEATURE_ALIBI": s.FEATURE_ALIBI, "CLATTN_FROM_DESC": s.FROM_DESC,
           "CLATTN_UNSUPPORTED": s.INVALID_FIRST, "CLATTN_INVALID_DESC": s.INVALID_LAST}


def test_structs(tmp_path):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler is here to ask for the header's layout")
    lines = []
    for name, struct in STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        for member, *_ in struct._fields_:
            c = member.rstrip("_")
            lines.append(f'printf("{name}.{member} %zu\\n", offsetof({name}, {c}));')
    for name in NUMBERS:
        lines.append(f'printf("{name} %lld\\n", (long long){name});')
    source = tmp_path / "layout.c"
    source.write_text("#define CL_TARGET_OPENCL_VERSION 120\n#include <clattn.h>\n"
                      "#include <stdio.h>\nint main(void) {\n" + "\n".join(lines) + "\n}\n")
    subprocess.run([compiler, "-I", INCLUDE, source, "-o", tmp_path / "layout"], check=True)
    said = dict(line.rsplit(" ", 1) for line in
                subprocess.check_output([tmp_path / "layout"], text=True).splitlines())
    for name, struct in STRUCTS.items():
        assert int(said[name]) >= ctypes.sizeof(struct), name
        for member, *_ in struct._fields_:
            assert int(said[f"{name}.{member}"]) == getattr(struct, member).offset, member
    for name, number in NUMBERS.items():
        assert int(said[name]) == number, name

"""The structs and constants of include/clattn.h; tests/test_structs.py compares them with it."""

from ctypes import (CFUNCTYPE, POINTER, Structure, c_char_p, c_double, c_float, c_int32, c_int64,
                    c_size_t, c_uint32, c_uint64, c_void_p, pointer)  # noqa: F401

F32, F16, BF16 = 1, 2, 3
ALIGN = {"end": 0, "start": 1}
UNBOUNDED = -1
FORWARD, BACKWARD = 0, 1
FEATURE_ALIBI = 1 << 0
FROM_DESC = 0xFFFFFFFF
SCALE_DEFAULT = 3.402823466e38
INVALID_FIRST, INVALID_LAST = -9010, -9001  # what the caller did; all else is the driver's

NOTIFY = CFUNCTYPE(None, c_int32, c_char_p, c_void_p)


class ContextDesc(Structure):
    _fields_ = [("size", c_size_t), ("context", c_void_p), ("device", c_void_p),
                ("notify", NOTIFY), ("user_data", c_void_p), ("tuning_path", c_char_p)]


class Desc(Structure):
    _fields_ = [("size", c_size_t), ("type", c_uint32), ("batch", c_uint32),
                ("heads_q", c_uint32), ("heads_kv", c_uint32), ("seq_q", c_uint32),
                ("seq_kv", c_uint32), ("head_dim", c_uint32), ("head_dim_v", c_uint32),
                ("band_left", c_int32), ("band_right", c_int32), ("align", c_uint32),
                ("softcap", c_float), ("variant", c_char_p), ("features", c_uint64),
                ("promises", c_uint64), ("type_k", c_uint32), ("type_v", c_uint32),
                ("type_o", c_uint32), ("type_d", c_uint32), ("pass_", c_uint32),
                ("seq_q_least", c_uint32)]


class Tensor(Structure):
    _fields_ = [("size", c_size_t), ("buffer", c_void_p), ("svm", c_void_p), ("offset", c_size_t),
                ("stride_batch", c_int64), ("stride_head", c_int64), ("stride_row", c_int64)]


TENSOR = POINTER(Tensor)


class Extras(Structure):
    _fields_ = [("size", c_size_t), ("alibi", TENSOR)]


class ForwardArgs(Structure):
    _fields_ = [("size", c_size_t), ("q", TENSOR), ("k", TENSOR), ("v", TENSOR), ("o", TENSOR),
                ("lse", TENSOR), ("workspace", c_void_p), ("workspace_offset", c_size_t),
                ("batch", c_uint32), ("seq_q", c_uint32), ("seq_kv", c_uint32),
                ("scale", c_float), ("extras", POINTER(Extras)), ("workspace_svm", c_void_p)]


class BackwardArgs(Structure):
    _fields_ = [("size", c_size_t), ("q", TENSOR), ("k", TENSOR), ("v", TENSOR), ("o", TENSOR),
                ("lse", TENSOR), ("d_o", TENSOR), ("d_lse", TENSOR), ("d_q", TENSOR),
                ("d_k", TENSOR), ("d_v", TENSOR), ("workspace", c_void_p),
                ("workspace_offset", c_size_t), ("workspace_svm", c_void_p), ("batch", c_uint32),
                ("seq_q", c_uint32), ("seq_kv", c_uint32), ("scale", c_float),
                ("extras", POINTER(Extras))]

"""clattn for Hugging Face's transformers: attn_implementation="clattn".

    import clattn.transformers
    model = AutoModel.from_pretrained(..., attn_implementation="clattn")

CPU models, inference and training.  Seen are causal masks, sliding windows (sliding_window), scale,
softcap, sinks (inference alone: they get no gradient), grouped heads, caches, padding of a batch on either side, and packed sequences
(cu_seq_lens_q); batches with padding and packed sequences run one call for each sequence.  As with
flash_attention_2, other masks are not seen.  ValueError: dropout, position biases, attention weights as an output, a sequence whose padding has holes.
"""

import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, flash_attention_mask

from .torch import attention


def _segments(query, key, attention_mask, q_bounds, k_bounds):
    """(batch item, first and last query, first and last key) of each sequence, or None: all in one."""
    if q_bounds is not None:
        q, k = q_bounds.tolist(), (q_bounds if k_bounds is None else k_bounds).tolist()
        return [(0, *found) for found in zip(q, q[1:], k, k[1:])]
    if attention_mask is None:
        return None
    if attention_mask.dim() != 2 or attention_mask.shape[1] != key.shape[2]:
        raise ValueError(f"attention_mask: clattn takes one of padding, [batch, keys], not one of "
                         f"shape {tuple(attention_mask.shape)}")
    found, before = [], key.shape[2] - query.shape[2]
    for b, seen in enumerate(attention_mask.bool()):
        there = seen.nonzero()
        first, behind = (int(there[0]), int(there[-1]) + 1) if len(there) else (0, 0)
        if behind - first != len(there):
            raise ValueError(f"attention_mask: the padding of sequence {b} has holes")
        found.append((b, max(first - before, 0), max(behind - before, 0), first, behind))
    return found


def attention_forward(module, query, key, value, attention_mask, dropout=0.0, scaling=None,
                      is_causal=None, sliding_window=None, softcap=None, position_bias=None,
                      s_aux=None, cu_seq_lens_q=None, cu_seq_lens_k=None, **kwargs):
    """transformers' attention interface: returns (o [batch, queries, heads, dim], None)."""
    for name, value_, off in (("dropout", dropout, 0.0), ("position_bias", position_bias, None),
                              ("output_attentions", kwargs.get("output_attentions") or None, None)):
        if value_ is not None and value_ != off:
            raise ValueError(f"{name}: this version of clattn does not offer it")
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    # A query sees itself and sliding_window - 1 keys before it.
    window = None
    if sliding_window is not None:
        window = (sliding_window - 1, 0 if causal else sliding_window - 1)
    options = {"causal": causal, "window": window, "scale": scaling, "softcap": softcap,
               "sink": None if s_aux is None else s_aux.float()}
    segments = _segments(query, key, attention_mask, cu_seq_lens_q, cu_seq_lens_k)
    if segments is None:
        return attention(query, key, value, **options).transpose(1, 2), None
    items = [[] for _ in range(query.shape[0])]
    ends = [0] * query.shape[0]
    for b, q0, q1, k0, k1 in segments:
        if q0 > ends[b]:
            items[b].append(query.new_zeros(1, query.shape[1], q0 - ends[b], value.shape[3]))
        items[b].append(attention(query[b:b + 1, :, q0:q1], key[b:b + 1, :, k0:k1],
                                  value[b:b + 1, :, k0:k1], **options))
        ends[b] = q1
    for item, end in zip(items, ends):
        item.append(query.new_zeros(1, query.shape[1], query.shape[2] - end, value.shape[3]))
    return torch.cat([torch.cat(item, dim=2) for item in items]).transpose(1, 2), None


def register(name="clattn"):
    """Makes attn_implementation=name known; the import of this module does so for "clattn"."""
    AttentionInterface.register(name, attention_forward)
    AttentionMaskInterface.register(name, flash_attention_mask)


register()

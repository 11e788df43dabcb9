/*
 * fwd_wgmma_maps - what the tensor copy engine has to know of q, k and v, before fwd_wgmma.
 *
 * The engine finds elements by a tensor map of 128 bytes: address, lengths, strides, and the
 * box that one copy moves.  The map holds a device address, which the host cannot ask an
 * OpenCL buffer for: so a kernel writes it.  A map has four dimensions,
 *
 *     element of a head (contiguous), row, head, batch
 *
 * with the lengths of the launch: what a box covers beyond them is read as 0, and not read
 * from memory.  PTX documents each field (tensormap.replace); all others are 0.
 *
 *     workspace, in bytes:  0 map of q   128 map of k   256 map of v   384 uint: tasks handed out,
 *                           beyond the first GROUPS
 *
 * Grid: one work-group.
 */
#ifndef BLOCK_M
#error "BLOCK_M: query rows per work-group; a multiple of 64"
#endif
#ifndef BLOCK_N
#error "BLOCK_N: keys per block; a multiple of 16, at most 256"
#endif

enum { MAP_BYTES = 128, MAP_LONGS = MAP_BYTES / 8 };

/* tensormap.replace: one field of the map at `map`; `order` is its dimension, a literal. */
#define MAP_SET(field, type, constraint, map, value)                            \
    __asm volatile("//@90a tensormap.replace.tile." field ".global.b1024." type \
                   " [%0], %1;" ::"l"(map),                                     \
                   constraint(value)                                            \
                   : "memory")
#define MAP_SET_ONE(field, type, constraint, map, order, value)                                  \
    __asm volatile("//@90a tensormap.replace.tile." field ".global.b1024." type " [%0], " #order \
                   ", %1;" ::"l"(map),                                                           \
                   constraint(value)                                                             \
                   : "memory")
#define MAP_SET_WORD(field, map, word)                                                    \
    __asm volatile("//@90a tensormap.replace.tile." field ".global.b1024.b32 [%0], " word \
                   ";" ::"l"(map)                                                         \
                   : "memory")

/* A stride in bytes: a multiple of 16 from 16 to below 2^40.  A stride that is none leads to
 * nothing: the host has looked at those that do. */
INLINE ulong map_stride(long elements) {
    return max((ulong)elements * sizeof(element_k) & 0xFFFFFFFFF0UL, 16UL);
}

INLINE void map_write(__global ulong *map, __global const element_k *from, struct strides strides,
                      int dim, int rows, int heads, int batch, int box_rows) {
    UNROLL
    for (int i = 0; i < MAP_LONGS; i++) {
        map[i] = 0;
    }
    MAP_SET("global_address", "b64", "l", map, (ulong)(from + strides.offset));
    MAP_SET_WORD("rank", map, "3"); /* dimensions - 1 */
    MAP_SET_ONE("box_dim", "b32", "r", map, 0, 64);
    MAP_SET_ONE("box_dim", "b32", "r", map, 1, box_rows);
    MAP_SET_ONE("box_dim", "b32", "r", map, 2, 1);
    MAP_SET_ONE("box_dim", "b32", "r", map, 3, 1);
    MAP_SET_ONE("global_dim", "b32", "r", map, 0, dim);
    MAP_SET_ONE("global_dim", "b32", "r", map, 1, max(rows, 1));
    MAP_SET_ONE("global_dim", "b32", "r", map, 2, heads);
    MAP_SET_ONE("global_dim", "b32", "r", map, 3, batch);
    MAP_SET_ONE("global_stride", "b64", "l", map, 0, map_stride(strides.row));
    MAP_SET_ONE("global_stride", "b64", "l", map, 1, map_stride(strides.head));
    MAP_SET_ONE("global_stride", "b64", "l", map, 2, map_stride(strides.batch));
    MAP_SET_ONE("element_stride", "b32", "r", map, 0, 1);
    MAP_SET_ONE("element_stride", "b32", "r", map, 1, 1);
    MAP_SET_ONE("element_stride", "b32", "r", map, 2, 1);
    MAP_SET_ONE("element_stride", "b32", "r", map, 3, 1);
    MAP_SET_WORD("elemtype", map, "1"); /* 16 bits, whatever they mean */
    MAP_SET_WORD("interleave_layout", map, "0");
    MAP_SET_WORD("swizzle_mode", map, "3"); /* over 128 bytes */
    MAP_SET_WORD("fill_mode", map, "0");    /* outside: 0 */
}

__kernel __attribute__((reqd_work_group_size(32, 1, 1))) void fwd_wgmma_maps(KERNEL_ARGUMENTS) {
    __global ulong *maps = (__global ulong *)(workspace + p.workspace);
    const int heads_kv = slice_heads_kv(&p);
    if (get_local_id(0) == 0) {
        map_write(maps, q, p.q, HEAD_DIM, p.seq_q, p.heads_q, p.batch, BLOCK_M);
    } else if (get_local_id(0) == 1) {
        map_write(maps + MAP_LONGS, k, p.k, HEAD_DIM, p.seq_kv, heads_kv, p.batch, BLOCK_N);
    } else if (get_local_id(0) == 2) {
        map_write(maps + 2 * MAP_LONGS, v, p.v, HEAD_DIM_V, p.seq_kv, heads_kv, p.batch, BLOCK_N);
    } else if (get_local_id(0) == 3) {
        maps[3 * MAP_LONGS] = 0;
    }
}

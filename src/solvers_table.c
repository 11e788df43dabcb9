#include "solvers.h"

extern const struct solver solver_dec_lanes, solver_fwd_lanes, solver_fwd_wgmma, solver_fwd_mma,
    solver_fwd_tile, solver_fwd_rows, solver_bwd_lanes, solver_bwd_mma, solver_bwd_tile,
    solver_bwd_rows, solver_merge_rows, solver_memory_efficient, solver_standard,
    solver_bwd_standard;

const struct solver *const solvers_table[SOLVERS] = {
    &solver_dec_lanes, &solver_fwd_lanes,    &solver_fwd_wgmma,  &solver_fwd_mma,
    &solver_fwd_tile,  &solver_fwd_rows,     &solver_bwd_lanes,  &solver_bwd_mma,
    &solver_bwd_tile,  &solver_bwd_rows,     &solver_merge_rows, &solver_memory_efficient,
    &solver_standard,  &solver_bwd_standard,
};

/*
 * bench_report - results as a table, as CSV or as JSON.
 *
 * Table and CSV come line by line as the results do, JSON at the end:
 *
 *     {"device", "driver", "limits": {"fma_gflops", "fma_by", "copy_gbs", "copy_by", "read_gbs"},
 *      "results": [{"problem", "variant", "ms", "ms_spread", "wall_ms", "gflops",
 *                   "model_bytes", "workspace_bytes", "max_error", "error_bound",
 *                   "peak_fraction", "bandwidth_fraction", "read_fraction", "sets", "asked"}]}
 *
 * ms_spread is the 90th percentile of the device time less its 10th; sets counts those
 * of tensors that took turns; asked is what --variants said, or auto; what is not a finite
 * number is null, in CSV empty.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdio.h>
#include "bench_limits.h"
#include "bench_machine.h"
#include "bench_measure.h"

enum bench_format { BENCH_TABLE, BENCH_CSV, BENCH_JSON };

struct bench_report {
    FILE *to;
    enum bench_format format;
    const struct bench_machine *machine;
    const struct bench_limits *limits;
    unsigned sets; /* that were asked for, or 0 */
};

void bench_report_begin(const struct bench_report *r);

/* Those of one problem. */
void bench_report_add(const struct bench_report *r, const struct bench_result *results,
                      size_t count);

/* All of them once more.  False if something could not be written. */
bool bench_report_end(const struct bench_report *r, const struct bench_result *results,
                      size_t count);

#endif

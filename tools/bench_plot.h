/*
 * bench_plot - results as a picture, by gnuplot: speed over length, memory over
 * length, and where each lies under the device's roofs.
 */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include "bench_limits.h"
#include "bench_measure.h"

/* Whether there is a gnuplot. */
bool bench_plot_possible(void);

/* Can the file be written?  One that was not there is not left there. */
bool bench_plot_writable(const char *path);

/* Writes an SVG.  False if gnuplot, which has said why, could not. */
bool bench_plot(const char *path, const char *device, const struct bench_limits *limits,
                const struct bench_result *results, size_t count);

#endif

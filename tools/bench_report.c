#include "bench_report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <jansson.h>

/* The numbers of a result, in the order of the columns. */
struct column {
    const char *name;
    double (*value)(const struct bench_result *r);
};

static double ms(const struct bench_result *r) {
    return 1e3 * r->device.median;
}

static double ms_spread(const struct bench_result *r) {
    return 1e3 * (r->device.high - r->device.low);
}

static double wall_ms(const struct bench_result *r) {
    return 1e3 * r->wall.median;
}

static double gflops(const struct bench_result *r) {
    return 1e-9 * r->rate;
}

static double model_bytes(const struct bench_result *r) {
    return r->model_bytes;
}

static double workspace_bytes(const struct bench_result *r) {
    return (double)r->workspace;
}

static double max_error(const struct bench_result *r) {
    return r->max_error;
}

static double error_bound(const struct bench_result *r) {
    return r->error_bound;
}

static double ill_rows(const struct bench_result *r) {
    return (double)r->ill_rows;
}

static double peak_fraction(const struct bench_result *r) {
    return r->peak_fraction;
}

static double bandwidth_fraction(const struct bench_result *r) {
    return r->bandwidth_fraction;
}

static double read_fraction(const struct bench_result *r) {
    return r->read_fraction;
}

static double sets(const struct bench_result *r) {
    return (double)r->sets;
}

static const struct column columns[] = {
    {"ms", ms},
    {"ms_spread", ms_spread},
    {"wall_ms", wall_ms},
    {"gflops", gflops},
    {"model_bytes", model_bytes},
    {"workspace_bytes", workspace_bytes},
    {"max_error", max_error},
    {"error_bound", error_bound},
    {"ill_rows", ill_rows},
    {"peak_fraction", peak_fraction},
    {"bandwidth_fraction", bandwidth_fraction},
    {"read_fraction", read_fraction},
    {"sets", sets},
};

enum { COLUMNS = sizeof columns / sizeof columns[0], DIGITS = 6 };

/* ---- Table ---------------------------------------------------------------- */

static const char *as_bytes(char text[32], double bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    int unit = 0;
    while (unit < 3 && bytes >= 1024) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, 32, bytes >= 999.5 ? "%.0f %s" : "%.3g %s", bytes, units[unit]);
    return text;
}

static const char *as_speed(char text[32], double rate) {
    bool tera = rate >= 1e12;
    snprintf(text, 32, "%.4g %s", rate * (tera ? 1e-12 : 1e-9), tera ? "TFLOP/s" : "GFLOP/s");
    return text;
}

static void begin_table(const struct bench_report *r) {
    char peak[32];
    fprintf(r->to, "device  %s, driver %s\n", r->machine->label, r->machine->driver);
    fprintf(r->to, "peak    %s in f32 (%s)\n", as_speed(peak, r->limits->flops),
            r->limits->flops_by);
    fprintf(r->to, "copy    %.4g GB/s read and written (%s)\n", 1e-9 * r->limits->copy,
            r->limits->copy_by);
    fprintf(r->to, "read    %.4g GB/s read (a kernel)\n", 1e-9 * r->limits->read);
    if (r->sets == 1) {
        fputs("sets    1, the same tensors in every pass\n", r->to);
    } else if (r->sets) {
        fprintf(r->to, "sets    %u of tensors, which take turns\n", r->sets);
    }
    fputs("\n", r->to);
    fprintf(r->to, "%10s %19s %10s %13s %6s %8s %6s %6s %10s %9s %9s  %s\n", "ms", "p10..p90",
            "wall ms", "speed", "peak", "GB/s", "copy", "read", "workspace", "error", "bound",
            "variant");
}

static void add_to_table(const struct bench_report *r, const struct bench_result *results,
                         size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct bench_result *e = &results[i];
        char range[64], speed[32], workspace[32], ill[64] = "";
        if (i == 0) {
            fprintf(r->to, "\n%s\n", e->problem);
        }
        snprintf(range, sizeof range, "%.4g..%.4g", 1e3 * e->device.low, 1e3 * e->device.high);
        if (e->ill_rows) {
            snprintf(ill, sizeof ill, "  (%" PRIu64 " rows ill-conditioned)", e->ill_rows);
        }
        fprintf(r->to,
                "%10.5g %19s %10.5g %13s %5.1f%% %8.4g %5.1f%% %5.1f%% %10s %9.2g %9.2g  "
                "%s%s%s%s%s\n",
                1e3 * e->device.median, range, 1e3 * e->wall.median, as_speed(speed, e->rate),
                100 * e->peak_fraction, 1e-9 * e->model_bytes / e->device.median,
                100 * e->bandwidth_fraction, 100 * e->read_fraction,
                as_bytes(workspace, (double)e->workspace), e->max_error, e->error_bound,
                strcmp(e->asked, "auto") == 0 ? "auto: " : "", e->variant,
                e->passed ? "" : "  WRONG", ill, e->by_device ? "" : "  (host clock)");
    }
}

/* ---- CSV ------------------------------------------------------------------ */

static void add_to_csv(const struct bench_report *r, const struct bench_result *results,
                       size_t count) {
    for (size_t i = 0; i < count; i++) {
        fprintf(r->to, "\"%s\",\"%s\"", results[i].problem, results[i].variant);
        for (size_t c = 0; c < COLUMNS; c++) {
            double value = columns[c].value(&results[i]);
            if (!isfinite(value)) {
                fputs(",", r->to);
            } else if (value == floor(value)) {
                fprintf(r->to, ",%.0f", value);
            } else {
                fprintf(r->to, ",%.*g", DIGITS, value);
            }
        }
        fprintf(r->to, ",\"%s\"\n", results[i].asked);
    }
}

/* ---- JSON ----------------------------------------------------------------- */

static json_t *number(double value) {
    return !isfinite(value)                                ? json_null()
           : value == floor(value) && fabs(value) < 0x1p53 ? json_integer((json_int_t)value)
                                                           : json_real(value);
}

static bool write_json(const struct bench_report *r, const struct bench_result *results,
                       size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *entry =
            json_pack("{s:s, s:s}", "problem", results[i].problem, "variant", results[i].variant);
        for (size_t c = 0; c < COLUMNS; c++) {
            json_object_set_new(entry, columns[c].name, number(columns[c].value(&results[i])));
        }
        json_object_set_new(entry, "asked", json_string(results[i].asked));
        json_array_append_new(list, entry);
    }
    json_t *all =
        json_pack("{s:s, s:s, s:{s:f, s:s, s:f, s:s, s:f}, s:o}", "device", r->machine->label,
                  "driver", r->machine->driver, "limits", "fma_gflops", 1e-9 * r->limits->flops,
                  "fma_by", r->limits->flops_by, "copy_gbs", 1e-9 * r->limits->copy, "copy_by",
                  r->limits->copy_by, "read_gbs", 1e-9 * r->limits->read, "results", list);
    bool written = all && json_dumpf(all, r->to, JSON_INDENT(2) | JSON_REAL_PRECISION(DIGITS)) == 0;
    fputs("\n", r->to);
    json_decref(all);
    return written;
}

/* ---- Any ------------------------------------------------------------------ */

void bench_report_begin(const struct bench_report *r) {
    if (r->format == BENCH_TABLE) {
        begin_table(r);
    } else if (r->format == BENCH_CSV) {
        fputs("problem,variant", r->to);
        for (size_t c = 0; c < COLUMNS; c++) {
            fprintf(r->to, ",%s", columns[c].name);
        }
        fputs(",asked\n", r->to);
    }
    fflush(r->to);
}

void bench_report_add(const struct bench_report *r, const struct bench_result *results,
                      size_t count) {
    if (r->format == BENCH_TABLE) {
        add_to_table(r, results, count);
    } else if (r->format == BENCH_CSV) {
        add_to_csv(r, results, count);
    }
    fflush(r->to);
}

bool bench_report_end(const struct bench_report *r, const struct bench_result *results,
                      size_t count) {
    bool written = r->format != BENCH_JSON || write_json(r, results, count);
    return fflush(r->to) == 0 && !ferror(r->to) && written;
}

/* popen */
#define _POSIX_C_SOURCE 200809L

#include "bench_plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LABEL = 256, BLACK = 6 };

/* Results of one variant and one family of problems (all but batch and lengths). */
struct series {
    size_t variant, family;
};

struct picture {
    FILE *to;
    const struct bench_limits *limits;
    const struct bench_result *results;
    size_t count;
    char (*variants)[LABEL], (*families)[LABEL];
    struct series *series, *of; /* of: each result's */
    size_t variant_count, family_count, series_count;
};

/* ---- Grouping ------------------------------------------------------------- */

static size_t find_or_add(char (*labels)[LABEL], size_t *count, const char *label) {
    size_t i = 0;
    while (i < *count && strcmp(labels[i], label) != 0) {
        i++;
    }
    if (i == *count) {
        snprintf(labels[(*count)++], LABEL, "%s", label);
    }
    return i;
}

/* What is left of a problem's text without batch and lengths: "f16 h32:8 d128 causal". */
static void name_family(const struct bench_result *r, char label[LABEL]) {
    char text[sizeof r->problem];
    snprintf(text, sizeof text, "%s", r->problem);
    label[0] = '\0';
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        if (!strchr("bqk", word[0]) || word[1] < '0' || word[1] > '9') {
            size_t used = strlen(label);
            snprintf(label + used, LABEL - used, "%s%s", used ? " " : "", word);
        }
    }
}

static bool group(struct picture *p) {
    p->variants = calloc(p->count, sizeof *p->variants);
    p->families = calloc(p->count, sizeof *p->families);
    p->series = calloc(p->count, sizeof *p->series);
    p->of = calloc(p->count, sizeof *p->of);
    if (!p->variants || !p->families || !p->series || !p->of) {
        return false;
    }
    for (size_t i = 0; i < p->count; i++) {
        char label[LABEL];
        name_family(&p->results[i], label);
        p->of[i] = (struct series){find_or_add(p->variants, &p->variant_count, p->results[i].asked),
                                   find_or_add(p->families, &p->family_count, label)};
        size_t s = 0;
        while (s < p->series_count && (p->series[s].variant != p->of[i].variant ||
                                       p->series[s].family != p->of[i].family)) {
            s++;
        }
        p->series[s] = p->of[i];
        p->series_count += s == p->series_count;
    }
    return true;
}

/* ---- Script --------------------------------------------------------------- */

/* Single quotes: gnuplot looks for nothing in them but their end. */
static void put_quoted(FILE *to, const char *text) {
    fputc('\'', to);
    for (; *text; text++) {
        if (*text == '\'') {
            fputc('\'', to);
        }
        fputc((unsigned char)*text >= ' ' ? *text : ' ', to);
    }
    fputc('\'', to);
}

/* Columns: length, operations a second, bytes beyond inputs and outputs, operations
 * for each byte of the model. */
static void put_data(const struct picture *p) {
    for (size_t s = 0; s < p->series_count; s++) {
        fprintf(p->to, "$series%zu << END\n", s);
        for (size_t i = 0; i < p->count; i++) {
            const struct bench_result *r = &p->results[i];
            if (p->of[i].variant != p->series[s].variant ||
                p->of[i].family != p->series[s].family) {
                continue;
            }
            double lse = 4.0 * r->desc.batch * r->desc.heads_q * r->desc.seq_q;
            fprintf(p->to, "%u %.6g %.6g %.6g\n", r->desc.seq_kv, r->rate,
                    (double)r->workspace + lse, r->rate * r->device.median / r->model_bytes);
        }
        fputs("END\n", p->to);
    }
}

static const char *colour(size_t variant) {
    static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                          "#e69f00", "#56b4e9", "#000000"};
    return colours[variant % (sizeof colours / sizeof colours[0])];
}

/* A variant has its colour, a family its point and dash. */
static void put_style(const struct picture *p, size_t variant, size_t family) {
    static const int points[] = {7, 5, 9, 13, 11, 6, 4, 8, 12, 10};
    fprintf(p->to, "lc rgb '%s' lw 2 pt %d ps 0.8 dt %zu", colour(variant),
            points[family % (sizeof points / sizeof points[0])], family % 5 + 1);
}

static void put_panel(const struct picture *p, int panel, const char *title, const char *columns,
                      const char *with, const char *roof) {
    fprintf(p->to, "set lmargin at screen %.3f\nset rmargin at screen %.3f\n", 0.055 + 0.33 * panel,
            0.325 + 0.33 * panel);
    fprintf(p->to, "set title '%s'\nplot %s", title, roof);
    for (size_t s = 0; s < p->series_count; s++) {
        fprintf(p->to, "%s $series%zu using %s with %s ", s || roof[0] ? "," : "", s, columns,
                with);
        put_style(p, p->series[s].variant, p->series[s].family);
        fputs(" notitle", p->to);
    }
    fputs("\n", p->to);
}

/* Two lines below the panels: colours, then points and dashes. */
static void put_keys(const struct picture *p) {
    fputs("unset logscale\nunset xlabel\nunset ylabel\nunset tics\nunset border\nunset title\n"
          "unset grid\nset tmargin at screen 0.15\nset bmargin at screen 0\n"
          "set lmargin at screen 0.03\nset rmargin at screen 0.97\nset xrange [0:1]\n"
          "set yrange [0:1]\nset key at screen 0.5, screen 0.13 center top horizontal Left reverse "
          "samplen 3\nplot NaN notitle",
          p->to);
    for (size_t i = 0; i < p->variant_count; i++) {
        fprintf(p->to, ", keyentry with lines lw 5 lc rgb '%s' title ", colour(i));
        put_quoted(p->to, p->variants[i]);
    }
    fputs("\nset key at screen 0.5, screen 0.085\nplot NaN notitle", p->to);
    for (size_t i = 0; i < p->family_count; i++) {
        fputs(", keyentry with linespoints ", p->to);
        put_style(p, BLACK, i);
        fputs(" title ", p->to);
        put_quoted(p->to, p->families[i]);
    }
    fputs("\n", p->to);
}

static void put_script(const struct picture *p, const char *path, const char *device) {
    double first = INFINITY, last = 0;
    for (size_t i = 0; i < p->count; i++) {
        first = fmin(first, p->results[i].desc.seq_kv);
        last = fmax(last, p->results[i].desc.seq_kv);
    }
    put_data(p);
    fputs("set terminal svg size 1500,600 noenhanced font 'sans-serif,14' background 'white'\n"
          "set output ",
          p->to);
    put_quoted(p->to, path);
    fprintf(p->to, "\npeak = %.6g\ncopy = %.6g\nset multiplot title ", p->limits->flops,
            p->limits->copy);
    put_quoted(p->to, device);
    fputs("\nset tmargin at screen 0.86\nset bmargin at screen 0.27\nset grid xtics ytics lt 1 lw "
          "0.5 lc rgb '#cccccc'\n"
          "set border 3\nset tics nomirror\nset format '%.0s%c'\nset key top left Left reverse\n"
          "set logscale x 2\nset xlabel 'keys'\n",
          p->to);
    fprintf(p->to, "set xrange [%.6g:%.6g]\nset ylabel 'FLOP/s'\nset yrange [0:*]\n", first / 1.2,
            last * 1.2);
    put_panel(p, 0, "Speed", "1:2", "linespoints",
              "peak with lines lc rgb '#888888' dt 2 title 'multiply-add peak, f32'");
    fputs("set logscale y\nset yrange [*:*]\nunset ylabel\nset format y '%.0s%cB'\n", p->to);
    put_panel(p, 1, "Memory beyond inputs and o: workspace and lse", "1:3", "linespoints", "");
    fputs(
        "set logscale x 10\nset xrange [0.5:*]\nset xlabel 'FLOP for each byte of global memory'\n"
        "set ylabel 'FLOP/s'\nset format y '%.0s%c'\n",
        p->to);
    put_panel(p, 2, "Under the roofs: copying and multiply-adds", "4:2", "points",
              "(x * copy < peak ? x * copy : peak) with lines lc rgb '#888888' lw 2 notitle");
    put_keys(p);
    fputs("unset multiplot\nset output\n", p->to);
}

/* ---- gnuplot -------------------------------------------------------------- */

bool bench_plot_possible(void) {
    int status = system("gnuplot --version >/dev/null 2>&1");
    return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool bench_plot_writable(const char *path) {
    const bool existed = access(path, F_OK) == 0;
    FILE *file = fopen(path, "ab");
    if (file && fclose(file) == 0 && !existed) {
        remove(path);
    }
    return file != NULL;
}

bool bench_plot(const char *path, const char *device, const struct bench_limits *limits,
                const struct bench_result *results, size_t count) {
    struct picture p = {.limits = limits, .results = results, .count = count};
    bool good = group(&p);
    if (good) {
        p.to = popen("gnuplot >/dev/null", "w") /* where no file opens, it would draw there */;
        good = p.to != NULL;
    }
    if (good) {
        put_script(&p, path, device);
        good = pclose(p.to) == 0;
    }
    free(p.variants);
    free(p.families);
    free(p.series);
    free(p.of);
    return good;
}

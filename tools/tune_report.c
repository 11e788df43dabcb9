#include "tune_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tune_line.h"

enum { CELL = 32 };

static void put_time(char cell[CELL], double seconds) {
    snprintf(cell, CELL, seconds > 0 ? "%.4g" : "-", seconds * 1e3);
}

void tune_report_table(FILE *to, const struct tune_row *rows, size_t count) {
    int width = (int)strlen("problem");
    for (size_t i = 0; i < count; i++) {
        const int length = (int)strlen(rows[i].problem);
        width = length > width ? length : width;
    }
    fprintf(to, "%-*s %10s %10s  %-15s %10s %7s %7s %5s %7s %7s\n", width, "problem", "default ms",
            "best ms", "gain", "candidates", "tried", "refused", "wrong", "crashed", "timeout");
    double sum = 0;
    size_t gains = 0;
    for (size_t i = 0; i < count; i++) {
        const struct tune_row *r = &rows[i];
        char before[CELL], after[CELL], gain[CELL] = "-";
        put_time(before, r->before > 0 ? r->before : r->first);
        put_time(after, r->after > 0 ? r->after : r->fastest);
        if (r->gain > 0) {
            snprintf(gain, sizeof gain, "%.3f +- %.3f%s", r->gain, r->noise,
                     r->better ? "" : " no");
            sum += r->better ? log(r->gain) : 0;
            gains++;
        }
        fprintf(to, "%-*s %10s %10s  %-15s %10zu %7zu %7zu %5zu %7zu %7zu\n", width, r->problem,
                before, after, gain, r->candidates, r->tried, r->outcomes[TUNE_REFUSED],
                r->outcomes[TUNE_WRONG], r->outcomes[TUNE_CRASHED], r->outcomes[TUNE_TIMEOUT]);
    }
    if (gains > 1) {
        fprintf(to, "geometric mean of the gains that are beyond their noise, else of 1: %.3f\n",
                exp(sum / (double)gains));
    }
}

char *tune_report_lines(clattn_context attention, const struct bench_problems *problems,
                        const struct tune_row *rows, size_t count, size_t *lines) {
    char *text = malloc((count + 1) * TUNE_LINE);
    char name[TUNE_WORDS], driver[128], words[TUNE_WORDS], line[TUNE_LINE];
    size_t used = 0;
    tune_line_fact(attention, "name", name, sizeof name);
    tune_line_fact(attention, "driver", driver, sizeof driver);
    *lines = 0;
    for (size_t i = 0; text && i < count; i++) {
        if (!rows[i].better) {
            continue;
        }
        tune_line_words(&problems->problem[i].desc, words);
        const struct tune_line of = {name,         driver,       words,
                                     rows[i].best, rows[i].gain, rows[i].error};
        tune_line_write(&of, line);
        memcpy(text + used, line, strlen(line));
        used += strlen(line);
        ++*lines;
    }
    if (text) {
        text[used] = '\0';
    }
    return text;
}

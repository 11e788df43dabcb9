/* isatty, fileno */
#define _POSIX_C_SOURCE 200809L

#include "bench_progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "bench_machine.h"

enum { WIDTH = 40 };

void bench_progress_start(struct bench_progress *p, size_t total) {
    *p = (struct bench_progress){.shown = isatty(fileno(stderr)) == 1, .total = total};
    p->start = bench_machine_now();
}

void bench_progress_set(struct bench_progress *p, size_t done, double fraction) {
    double now = bench_machine_now();
    if (!p->shown || (p->visible && now - p->last < 0.1)) {
        return;
    }
    double part = ((double)done + fraction) / (double)p->total;
    int filled = (int)(part * (double)WIDTH);
    char bar[WIDTH + 1];
    memset(bar, ' ', WIDTH);
    memset(bar, '#', (size_t)(filled < 0 ? 0 : filled > WIDTH ? WIDTH : filled));
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %zu of %zu", bar, done, p->total);
    if (part > 0) {
        double left = (now - p->start) / part * (1 - part);
        fprintf(stderr, ", %.0f:%02d left", (left - (int)left % 60) / 60, (int)left % 60);
    }
    fprintf(stderr, "%s%s    ", p->note[0] ? ", " : "", p->note);
    fflush(stderr);
    p->visible = true;
    p->last = now;
}

void bench_progress_clear(struct bench_progress *p) {
    if (p->visible) {
        fprintf(stderr, "\r%*s\r", WIDTH + 48 + (p->note[0] ? (int)sizeof p->note : 0), "");
        fflush(stderr);
        p->visible = false;
    }
}

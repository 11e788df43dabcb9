/* open_memstream */
#define _POSIX_C_SOURCE 200809L

#include "curve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "replace.h"

enum { WIDTH = 900, HEIGHT = 500, LEFT = 60, RIGHT = 20, TOP = 50, BOTTOM = 50, MOST_TICKS = 8 };

struct axes {
    double last_step, top; /* at the right and upper end */
};

static double x_of(const struct axes *axes, double step) {
    return LEFT + (WIDTH - LEFT - RIGHT) * step / axes->last_step;
}

static double y_of(const struct axes *axes, double value) {
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / axes->top;
}

/* The smallest of 1, 2, 5, 10, ... times a power of ten that makes few ticks. */
static double tick_distance(double range) {
    double unit = pow(10.0, floor(log10(range / MOST_TICKS)));
    while (range / unit > MOST_TICKS) {
        const double twice = unit * 2.0, five = unit * 5.0;
        unit = range / twice <= MOST_TICKS ? twice : range / five <= MOST_TICKS ? five : unit * 10;
    }
    return unit;
}

static void put_axes(FILE *to, const struct axes *axes) {
    double distance = tick_distance(axes->last_step);
    for (double step = 0.0; step <= axes->last_step; step += distance)
        fprintf(to, "<text x='%.1f' y='%d' text-anchor='middle'>%g</text>\n", x_of(axes, step),
                HEIGHT - BOTTOM + 20, step);
    distance = tick_distance(axes->top);
    for (int i = 0; i * distance <= axes->top; i++) {
        double y = y_of(axes, i * distance);
        fprintf(to,
                "<path d='M%d %.1fH%d' stroke='#cccccc'/>\n"
                "<text x='%d' y='%.1f' text-anchor='end'>%g</text>\n",
                LEFT, y, WIDTH - RIGHT, LEFT - 8, y + 5.0, i * distance);
    }
    fprintf(to, "<text x='%d' y='%d' text-anchor='middle'>step</text>\n",
            (WIDTH + LEFT - RIGHT) / 2, HEIGHT - 8);
}

static void put_curve(FILE *to, const struct axes *axes, const struct curve *curve, int number) {
    fprintf(to, "<polyline fill='none' stroke='%s' stroke-width='2' points='", curve->colour);
    for (size_t i = 0; i < curve->count; i++)
        fprintf(to, "%.1f,%.1f\n", x_of(axes, curve->steps[i]), y_of(axes, curve->values[i]));
    fprintf(to, "'/>\n<text x='%d' y='%d' text-anchor='end' fill='%s'>%s</text>\n",
            WIDTH - RIGHT - 10, TOP + 40 + 20 * number, curve->colour, curve->name);
}

const char *curve_write(const char *path, const char *title, const struct curve *curves,
                        size_t count, double level, const char *level_name) {
    struct axes axes = {1.0, level};
    for (size_t c = 0; c < count; c++)
        for (size_t i = 0; i < curves[c].count; i++) {
            axes.last_step = fmax(axes.last_step, curves[c].steps[i]);
            axes.top = fmax(axes.top, curves[c].values[i]);
        }
    axes.top *= 1.05;
    char *text = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&text, &length);
    if (!to)
        return "out of memory";
    fprintf(to,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' font-family='sans-serif' "
            "font-size='14'>\n<rect width='100%%' height='100%%' fill='white'/>\n"
            "<text x='%d' y='28' font-size='18'>%s</text>\n",
            WIDTH, HEIGHT, LEFT, title);
    put_axes(to, &axes);
    fprintf(to,
            "<path d='M%d %.1fH%d' stroke='#888888' stroke-width='2' stroke-dasharray='6'/>\n"
            "<text x='%d' y='%.1f' text-anchor='end' fill='#888888'>%s</text>\n",
            LEFT, y_of(&axes, level), WIDTH - RIGHT, WIDTH - RIGHT - 10, y_of(&axes, level) + 18.0,
            level_name);
    for (size_t c = 0; c < count; c++)
        put_curve(to, &axes, &curves[c], (int)c);
    fputs("</svg>\n", to);
    int good = !ferror(to);
    good = fclose(to) == 0 && good;
    const struct replace_piece piece = {text, length};
    const char *why = good ? replace_file(path, &piece, 1) : "out of memory";
    free(text);
    return why;
}

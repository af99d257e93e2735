/* cli/backtest_picture.c: an SVG that any browser shows: what came, the median, and the span between the outermost quantiles. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/backtest.h"
#include "wire/text.h"

#define PICTURES 4
#define WIDTH 900
#define HEIGHT 190
#define LEFT 50
#define TOP 30
#define PLOT_W (WIDTH - LEFT - 10)
#define PLOT_H (HEIGHT - TOP - 25)

/* One series' frame: times and values to places on the page. */
struct frame {
    FILE *f;
    const struct backtest *b;
    const struct backtest_row *row;
    size_t from, to; /* of the series' values */
    double top;      /* the greatest value */
    size_t least, greatest;
};

static double x_of(const struct frame *p, int64_t time)
{
    const struct backtest_series *s = &p->b->series[p->row->series];
    int64_t first = s->times[p->from], last = p->row->times[p->b->n_steps - 1];

    return LEFT + (last > first ? (double)(time - first) / (double)(last - first) * PLOT_W : 0);
}

static double y_of(const struct frame *p, double value)
{
    return TOP + PLOT_H - (p->top > 0 ? fmax(value, 0) / p->top * PLOT_H : 0);
}

static double said(const struct frame *p, size_t step, size_t output)
{
    return p->row->values[step * p->b->n_outputs + output];
}

static void draw_span(const struct frame *p)
{
    fprintf(p->f, "<polygon fill=\"#9ecae1\" fill-opacity=\"0.6\" points=\"");
    for (size_t i = 0; i < p->b->n_steps; i++)
        fprintf(p->f, "%.1f,%.1f ", x_of(p, p->row->times[i]), y_of(p, said(p, i, p->greatest)));
    for (size_t i = p->b->n_steps; i-- > 0;)
        fprintf(p->f, "%.1f,%.1f ", x_of(p, p->row->times[i]), y_of(p, said(p, i, p->least)));
    fprintf(p->f, "\"/>\n");
}

static void draw_lines(const struct frame *p)
{
    const struct backtest_series *s = &p->b->series[p->row->series];

    fprintf(p->f, "<polyline fill=\"none\" stroke=\"#333\" points=\"");
    for (size_t i = p->from; i < p->to; i++)
        fprintf(p->f, "%.1f,%.1f ", x_of(p, s->times[i]), y_of(p, s->values[i]));
    fprintf(p->f, "\"/>\n<polyline fill=\"none\" stroke=\"#d62728\" stroke-width=\"1.5\" points=\"");
    for (size_t i = 0; i < p->b->n_steps; i++)
        fprintf(p->f, "%.1f,%.1f ", x_of(p, p->row->times[i]), y_of(p, said(p, i, p->b->median)));
    fprintf(p->f, "\"/>\n");
}

/* A key may hold what XML does not take as it is. */
static void put_text(FILE *f, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<': fputs("&lt;", f); break;
        case '&': fputs("&amp;", f); break;
        case '>': fputs("&gt;", f); break;
        default: fputc((unsigned char)*text < ' ' ? '?' : *text, f); break;
        }
}

static void draw_frame(const struct frame *p)
{
    const struct backtest_series *s = &p->b->series[p->row->series];
    char from[32], origin[32], to[32];

    text_format_time(s->times[p->from], from);
    text_format_time(p->row->time, origin);
    text_format_time(p->row->times[p->b->n_steps - 1], to);
    fprintf(p->f, "<text x=\"%d\" y=\"18\" font-weight=\"bold\">", LEFT);
    put_text(p->f, s->key);
    fprintf(p->f, "</text>\n<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#ccc\"/>\n", LEFT, TOP, PLOT_W, PLOT_H);
    fprintf(p->f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#999\" stroke-dasharray=\"4\"/>\n", x_of(p, p->row->time),
            x_of(p, p->row->time), TOP, TOP + PLOT_H);
    fprintf(p->f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.4g</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">0</text>\n", LEFT - 4, TOP + 8,
            p->top, LEFT - 4, TOP + PLOT_H);
    fprintf(p->f, "<text x=\"%d\" y=\"%d\">%.10s</text><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.10s</text>"
            "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.10s</text>\n", LEFT, HEIGHT - 8, from, x_of(p, p->row->time), HEIGHT - 8, origin,
            WIDTH - 10, HEIGHT - 8, to);
}

static void draw(FILE *f, const struct backtest *b, const struct backtest_row *row, size_t place)
{
    const struct backtest_series *s = &b->series[row->series];
    struct frame p = {.f = f, .b = b, .row = row, .least = b->median, .greatest = b->median};
    size_t here = backtest_find(s, row->time);

    p.from = here + 1 > 3 * b->n_steps ? here + 1 - 3 * b->n_steps : 0;
    for (p.to = here + 1; p.to < s->n && s->times[p.to] <= row->times[b->n_steps - 1];)
        p.to++;
    for (size_t k = 0; k < b->n_outputs; k++) {
        p.least = b->shares[k] < b->shares[p.least] ? k : p.least;
        p.greatest = b->shares[k] > b->shares[p.greatest] ? k : p.greatest;
    }
    for (size_t i = p.from; i < p.to; i++)
        p.top = fmax(p.top, s->values[i]);
    for (size_t i = 0; i < b->n_steps; i++)
        p.top = fmax(p.top, said(&p, i, p.greatest));
    fprintf(f, "<g transform=\"translate(0,%zu)\">\n", place * HEIGHT + 20);
    draw_frame(&p);
    draw_span(&p);
    draw_lines(&p);
    fprintf(f, "</g>\n");
}

static double sum_of(const struct backtest *b, const struct backtest_row *row)
{
    double sum = 0;

    for (size_t i = 0; i < b->series[row->series].n; i++)
        sum += b->series[row->series].values[i];
    return sum;
}

/* The rows at the last origin by the sum of their series' values, the greatest first; returns how many. */
static size_t choose(const struct backtest *b, const struct backtest_row **ret)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n_rows; i++) {
        size_t at = n;

        if (b->rows[i].origin != 0 || b->rows[i].values == NULL)
            continue;
        for (; at > 0 && sum_of(b, ret[at - 1]) < sum_of(b, &b->rows[i]); at--)
            if (at < PICTURES)
                ret[at] = ret[at - 1];
        if (at < PICTURES)
            ret[at] = &b->rows[i];
        n += n < PICTURES;
    }
    return n;
}

enum status backtest_picture(const struct backtest *b, const char *path, struct error *err)
{
    const struct backtest_row *rows[PICTURES];
    size_t n = choose(b, rows);
    FILE *f = fopen(path, "w");
    bool bad;

    if (f == NULL)
        return err_set(err, ERR_FATAL, "--picture %s: %s", path, strerror(errno));
    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%zu\" font-family=\"sans-serif\" font-size=\"11\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"%d\" y=\"14\">what came (black), the median (red), from the least to the "
            "greatest quantile (blue); behind the dashed line nothing was known</text>\n", WIDTH, n * HEIGHT + 20, LEFT);
    for (size_t i = 0; i < n; i++)
        draw(f, b, rows[i], i);
    fprintf(f, "</svg>\n");
    bad = ferror(f);
    if (fclose(f) != 0 || bad)
        return err_set(err, ERR_FATAL, "--picture %s: %s", path, strerror(errno));
    return OK;
}

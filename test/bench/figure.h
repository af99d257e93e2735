/* test/bench/figure.h: a figure of a bench: a line on stdout, and the same as an object in build/bench/<bench>.jsonl. */
#ifndef BENCH_FIGURE_H
#define BENCH_FIGURE_H

#include <stdio.h>
#include <sys/stat.h>

static inline void figure(const char *bench, const char *name, double value, const char *unit)
{
    char path[256];
    FILE *out;

    printf("%s %.10g %s\n", name, value, unit);
    (void)mkdir("build", 0777);
    (void)mkdir("build/bench", 0777);
    snprintf(path, sizeof(path), "build/bench/%s.jsonl", bench);
    out = fopen(path, "a");
    if (out == NULL)
        return;
    fprintf(out, "{\"bench\":\"%s\",\"name\":\"%s\",\"value\":%.10g,\"unit\":\"%s\"}\n", bench, name, value, unit);
    fclose(out);
}

#endif

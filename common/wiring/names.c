#include <ctype.h>

#include "wiring/pipeline.h"

#define NAME_BYTES_MAX 128

static int min3(int a, int b, int c)
{
    int ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment), whatever the case. */
static int distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    int rows[3][NAME_BYTES_MAX + 1];
    int *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= n_b; j++)
        last[j] = (int)j;
    for (size_t i = 1; i <= n_a; i++) {
        int *spare = before;

        now[0] = (int)i;
        for (size_t j = 1; j <= n_b; j++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);

            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (ca != cb));
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) && cb == tolower((unsigned char)a[i - 2]) &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        before = last;
        last = now;
        now = spare;
    }
    return last[n_b];
}

const char *nearest_name(const char *name, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t n_name = strlen(name);
    int best_distance = (int)(n_name / 3) + 1; /* a third of the letters wrong is still a slip */

    if (n_name == 0 || n_name > NAME_BYTES_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t n_candidate = strlen(candidates[i]);
        int d;

        if (n_candidate > NAME_BYTES_MAX)
            continue;
        d = distance(name, n_name, candidates[i], n_candidate);
        if (d < best_distance || (d == best_distance && best == NULL && d < (int)n_candidate)) {
            best = candidates[i];
            best_distance = d;
        }
    }
    return best;
}

/*
 * Texts as numbers: hash, words, ngrams.
 *
 * Hash     SipHash-2-4 of the UTF-8 bytes, with the 16 bytes of key "ecarllim" "erutaef\0", modulo k; of an integer, its decimal digits.
 * Folded   letters are made small in ASCII, Latin-1, Latin Extended-A, Greek (without accents) and Cyrillic; each byte that is no UTF-8 becomes
 *          U+FFFD. Breaks (white space for ngrams; for words, punctuation too) become one space, and none at either end.
 * words    what stands between the spaces; ngrams: each run of n characters, spaces included.
 */
#include "base/siphash.h"
#include "feature/expr_tree.h"

#include <stdio.h>

#define NGRAM_MAX 8
#define BAD_CHARACTER 0xfffd

uint64_t text_hash(struct view text)
{
    static const uint64_t key[2] = {0x6d696c6c72616365u, 0x66656174757265u};

    return siphash(key, text);
}

void k_hash_text(const struct step *s, const struct frame *f)
{
    const struct buckets *b = s->with;
    const struct vec a = f->vecs[s->args[0]], o = f->vecs[s->out];

    for (size_t r = 0; r < f->n_rows; r++) {
        o.null[r] = a.null[r & a.mask];
        o.i64[r] = o.null[r] ? 0 : (int64_t)(text_hash(a.view[r & a.mask]) % b->k);
    }
}

void k_hash_int(const struct step *s, const struct frame *f)
{
    const struct buckets *b = s->with;
    const struct vec a = f->vecs[s->args[0]], o = f->vecs[s->out];

    for (size_t r = 0; r < f->n_rows; r++) {
        char digits[24];
        int n = snprintf(digits, sizeof(digits), "%lld", (long long)a.i64[r & a.mask]);

        o.null[r] = a.null[r & a.mask];
        o.i64[r] = o.null[r] ? 0 : (int64_t)(text_hash(view_of(digits, (size_t)n)) % b->k);
    }
}

/* ---- characters ---- */
/* The character at the front and its bytes; BAD_CHARACTER and 1 where there is none (RFC 3629: nothing overlong, no surrogates). */
static uint32_t character(const uint8_t *p, size_t n, size_t *ret_bytes)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t want = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    uint32_t c;

    *ret_bytes = 1;
    if (want == 1)
        return p[0];
    if (want == 0 || want > n)
        return BAD_CHARACTER;
    c = p[0] & (0xffu >> (want + 1));
    for (size_t i = 1; i < want; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return BAD_CHARACTER;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[want] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return BAD_CHARACTER;
    *ret_bytes = want;
    return c;
}

static size_t put_character(uint8_t *p, uint32_t c)
{
    if (c < 0x80) {
        p[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        p[0] = (uint8_t)(0xc0 | c >> 6);
        p[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        p[0] = (uint8_t)(0xe0 | c >> 12);
        p[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        p[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    p[0] = (uint8_t)(0xf0 | c >> 18);
    p[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    p[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    p[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

static uint32_t lower(uint32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    if (c < 0x100)
        return c >= 0xc0 && c <= 0xde && c != 0xd7 ? c + 32 : c;
    if (c < 0x180) { /* pairs, the capital first; 0x130 and 0x138 are none, 0x178 has its small letter in Latin-1 */
        bool odd_first = (c >= 0x139 && c <= 0x148) || c >= 0x179;
        bool pair = c != 0x130 && c != 0x131 && c != 0x138 && c != 0x149 && c != 0x17f;

        return c == 0x178 ? 0xff : pair && (c % 2 == 1) == odd_first ? c + 1 : c;
    }
    if (c >= 0x391 && c <= 0x3a9)
        return c != 0x3a2 ? c + 32 : c;
    if (c >= 0x400 && c <= 0x42f)
        return c < 0x410 ? c + 80 : c + 32;
    return c;
}

static bool is_space(uint32_t c)
{
    return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Not part of a word: in ASCII all but letters, digits and '_'; beyond it white space and the blocks of punctuation. */
static bool is_break(uint32_t c)
{
    static const struct {
        uint32_t from, to;
    } punctuation[] = {{0x80, 0xa9},     {0xab, 0xb4},     {0xb6, 0xb9},     {0xbb, 0xbf},     {0xd7, 0xd7},     {0xf7, 0xf7},
                       {0x2000, 0x206f}, {0x20a0, 0x20cf}, {0x2e00, 0x2e7f}, {0x3000, 0x303f}, {0xfe10, 0xfe1f}, {0xfe30, 0xfe6f},
                       {0xff00, 0xff0f}, {0xff1a, 0xff20}, {0xff3b, 0xff40}, {0xff5b, 0xff65}, {0xfff0, 0xffff}};

    if (c < 0x80)
        return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_');
    for (size_t i = 0; i < ARRAY_LEN(punctuation); i++)
        if (c >= punctuation[i].from && c <= punctuation[i].to)
            return true;
    return is_space(c);
}

/* The folded text's bytes: at most three for each of the text's. */
static size_t fold(struct view text, bool breaks(uint32_t), uint8_t *ret)
{
    size_t n = 0, bytes;
    bool open = false; /* a space is due before the next character */

    for (size_t i = 0; i < text.n; i += bytes) {
        uint32_t c = character(text.data + i, text.n - i, &bytes);

        if (breaks(c)) {
            open = n > 0;
            continue;
        }
        if (open)
            ret[n++] = ' ';
        open = false;
        n += put_character(ret + n, lower(c));
    }
    return n;
}

/* ---- counts in k columns ---- */
static size_t longest(const struct vec *a, size_t n_rows)
{
    size_t n = 0;

    for (size_t r = 0; r < n_rows; r++)
        n = a->view[r & a->mask].n > n ? a->view[r & a->mask].n : n;
    return n;
}

static void count(const struct vec *out, const struct buckets *b, size_t r, const uint8_t *p, size_t n)
{
    out[text_hash(view_of(p, n)) % b->k].i64[r]++;
}

static void count_words(const struct vec *out, const struct buckets *b, size_t r, const uint8_t *p, size_t n)
{
    for (size_t from = 0, i = 0; i <= n; i++)
        if (i == n || p[i] == ' ') {
            if (i > from)
                count(out, b, r, p + from, i - from);
            from = i + 1;
        }
}

static void count_ngrams(const struct vec *out, const struct buckets *b, size_t r, const uint8_t *p, size_t n)
{
    size_t starts[NGRAM_MAX], seen = 0; /* of the last n characters */

    for (size_t i = 0; i <= n; i++) {
        if (i < n && (p[i] & 0xc0) == 0x80)
            continue;
        if (seen >= b->n)
            count(out, b, r, p + starts[seen % b->n], i - starts[seen % b->n]);
        starts[seen++ % b->n] = i;
    }
}

static void count_texts(const struct step *s, const struct frame *f, bool breaks(uint32_t),
                        void counts(const struct vec *, const struct buckets *, size_t, const uint8_t *, size_t))
{
    const struct buckets *b = s->with;
    const struct vec a = f->vecs[s->args[0]], *out = &f->vecs[s->out];
    uint8_t *folded = arena_alloc(f->arena, 3 * longest(&a, f->n_rows) + 1);

    for (size_t k = 0; k < b->k; k++)
        memset(out[k].i64, 0, f->n_rows * sizeof(int64_t));
    for (size_t k = 0; k < b->k; k++)
        for (size_t r = 0; r < f->n_rows; r++)
            out[k].null[r] = a.null[r & a.mask];
    for (size_t r = 0; r < f->n_rows; r++)
        if (!a.null[r & a.mask])
            counts(out, b, r, folded, fold(a.view[r & a.mask], breaks, folded));
}

void k_words(const struct step *s, const struct frame *f)
{
    count_texts(s, f, is_break, count_words);
}

void k_ngrams(const struct step *s, const struct frame *f)
{
    count_texts(s, f, is_space, count_ngrams);
}

// SPDX-License-Identifier: Apache-2.0
#include "literals.h"

#include <arpa/inet.h>
#include <string.h>

enum {
	WORD = 1,  /* A-Z a-z 0-9 _ */
	ALNUM = 2, /* the same without _ */
	DIGIT = 4,
	XDIGIT = 8,
	BEFORE = 16, /* no number begins behind these: a word, . $ @ / */
	START = 32,  /* begins a name: A-Z a-z _ . */
};

static uint8_t class_of(unsigned char c)
{
	uint8_t found = 0;

	if (c >= '0' && c <= '9')
		return WORD | ALNUM | DIGIT | XDIGIT | BEFORE;
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
		found = WORD | ALNUM | BEFORE | START;
		if ((c | 0x20) <= 'f')
			found |= XDIGIT;
		return found;
	}
	if (c == '_')
		return WORD | BEFORE | START;
	if (c == '.')
		return BEFORE | START;
	return c == '$' || c == '@' || c == '/' ? BEFORE : 0;
}

static uint8_t classes[256];

__attribute__((constructor)) static void fill_classes(void)
{
	unsigned int c;

	for (c = 0; c < 256; c++)
		classes[c] = class_of((unsigned char)c);
}

static int is(const char *p, uint8_t wanted)
{
	return classes[(unsigned char)*p] & wanted;
}

/* Whether a number or address begins at p: a digit, "::", or hex digits and a colon. */
static int begins_number(const char *p, const char *end)
{
	const char *q = p;

	if (is(p, DIGIT) || (*p == ':' && p + 1 < end && p[1] == ':'))
		return 1;
	while (q < end && is(q, XDIGIT))
		q++;
	return q > p && q < end && *q == ':';
}

/* An address may hold colons until its first dot, and no two dots in a row. */
static const char *end_of_number(const char *p, const char *end)
{
	while (p < end && (is(p, ALNUM) || *p == ':'))
		p++;
	while (p < end && *p == '.' && !(p + 1 < end && p[1] == '.'))
		for (p++; p < end && is(p, ALNUM);)
			p++;
	return p;
}

static int hex_digit(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static int ethernet(const char *p, uint64_t *value)
{
	int i;

	*value = 0;
	for (i = 0; i < 17; i++) {
		if (i % 3 == 2 ? p[i] != ':' : !is(p + i, XDIGIT))
			return 0;
		if (i % 3 != 2)
			*value = *value << 4 | hex_digit(p[i]);
	}
	return 1;
}

static int decimal(const char *p, uint32_t len, uint64_t *value)
{
	uint32_t i;

	*value = 0;
	for (i = 0; i < len; i++)
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(p[i] - '0'), value))
			return OVN_LITERALS_NONE;
	return len > 1 && *p == '0' ? OVN_LITERALS_NONE : OVN_LIT_DECIMAL;
}

static int hexadecimal(const char *p, uint32_t len, uint64_t *value)
{
	uint32_t i;

	if (len > 16)
		return OVN_LITERALS_ASK;
	*value = 0;
	for (i = 0; i < len; i++) {
		if (!is(p + i, XDIGIT))
			return OVN_LITERALS_NONE;
		*value = *value << 4 | hex_digit(p[i]);
	}
	return len ? OVN_LIT_HEX : OVN_LITERALS_NONE;
}

static uint64_t big_endian(const uint8_t *p, int n)
{
	uint64_t value = 0;

	while (n--)
		value = value << 8 | *p++;
	return value;
}

/* What lang.lexer.parse_constant() makes of it. */
static int number(const char *p, uint32_t len, uint64_t *low, uint64_t *high)
{
	char text[64];
	uint8_t packed[16];
	uint32_t i;

	if (len == 17 && ethernet(p, low))
		return OVN_LIT_ETH;
	for (i = 0; i < len && is(p + i, DIGIT);)
		i++;
	if (i == len)
		return decimal(p, len, low);
	if (len >= 2 && p[0] == '0' && (p[1] | 0x20) == 'x')
		return hexadecimal(p + 2, len - 2, low);
	if (len >= sizeof(text))
		return OVN_LITERALS_NONE;
	memcpy(text, p, len);
	text[len] = '\0';
	if (memchr(p, ':', len)) {
		if (inet_pton(AF_INET6, text, packed) != 1)
			return OVN_LITERALS_NONE;
		*high = big_endian(packed, 8);
		*low = big_endian(packed + 8, 8);
		return OVN_LIT_IP6;
	}
	if (inet_pton(AF_INET, text, packed) != 1)
		return OVN_LITERALS_NONE;
	*low = big_endian(packed, 4);
	return OVN_LIT_IP4;
}

/* Comments to the end of the line, variables, escapes and IPv6 masks have no templates. */
static int check(const char *text, const char *end)
{
	const char *p, *q;

	for (p = text; p < end; p++) {
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			return OVN_LITERALS_ASK;
		if (*p == '^' || *p == '\\')
			return OVN_LITERALS_NONE;
		if (*p != '/')
			continue;
		for (q = p + 1; q < end && is(q, XDIGIT);)
			q++;
		if (q < end && (*q == ':' || (*q == '/' && q == p + 1)))
			return OVN_LITERALS_NONE;
	}
	return 0;
}

/* start: of the text, or behind the last comment. */
static const char *end_of_literal(const char *p, const char *start, const char *end, int *kind)
{
	const char *q = NULL;

	*kind = 0;
	if (*p == '"') {
		*kind = OVN_LIT_STRING;
		q = memchr(p + 1, '"', end - p - 1);
		return q ? q + 1 : NULL;
	}
	if (*p == '$' || *p == '@') {
		if (p + 1 == end || !is(p + 1, START))
			return NULL;
		*kind = *p == '$' ? OVN_LIT_SET : OVN_LIT_GROUP;
		for (q = p + 2; q < end && (is(q, WORD) || *q == '.');)
			q++;
		return q;
	}
	if ((!is(p, XDIGIT) && *p != ':') || (p > start && is(p - 1, BEFORE)))
		return NULL;
	return begins_number(p, end) ? end_of_number(p, end) : NULL;
}

/* What is behind the comment that begins at p; NULL without an end. */
static const char *end_of_comment(const char *p, const char *end)
{
	for (p += 2; p + 1 < end; p++)
		if (p[0] == '*' && p[1] == '/')
			return p + 2;
	return NULL;
}

int ovn_take_apart(const char *text, uint32_t len, struct ovn_literals *out)
{
	const char *end = text + len, *p = text, *start = text;
	uint32_t shape = 0;
	int kind, rc;

	if (len > OVN_MAX_SHAPE)
		return OVN_LITERALS_ASK;
	rc = check(text, end);
	if (rc)
		return rc;
	out->n = 0;
	while (p < end) {
		uint32_t n = out->n;
		const char *q;

		if (p[0] == '/' && p + 1 < end && p[1] == '*') {
			p = end_of_comment(p, end);
			if (!p)
				return OVN_LITERALS_NONE;
			out->shape[shape++] = ' ';
			start = p;
			continue;
		}
		q = end_of_literal(p, start, end, &kind);

		if (!q) {
			out->shape[shape++] = *p++;
			continue;
		}
		if (n == OVN_MAX_LITERALS)
			return OVN_LITERALS_ASK;
		out->low[n] = out->high[n] = 0;
		if (kind)
			out->low[n] = (uint64_t)(p + 1 - text) << 32 |
				      (uint32_t)(q - text - (kind == OVN_LIT_STRING));
		else
			kind = number(p, q - p, &out->low[n], &out->high[n]);
		if (kind < 0)
			return kind;
		out->shape[shape++] = (char)kind;
		out->n++;
		p = q;
	}
	return (int)shape;
}

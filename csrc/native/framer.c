// SPDX-License-Identifier: Apache-2.0
#include "framer.h"

static int is_space(uint8_t c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Returns the position after the string's closing quote, or len. */
static size_t skip_string(struct ovn_framer *f, const uint8_t *data, size_t i, size_t len)
{
	for (; i < len; i++) {
		if (f->escaped) {
			f->escaped = 0;
		} else if (data[i] == '\\') {
			f->escaped = 1;
		} else if (data[i] == '"') {
			f->in_string = 0;
			return i + 1;
		}
	}
	return len;
}

int ovn_framer_scan(struct ovn_framer *f, const uint8_t *data, size_t len, size_t *used)
{
	size_t i = 0;

	if (f->in_string)
		i = skip_string(f, data, i, len);
	while (i < len) {
		uint8_t c = data[i];

		if (c == '{' || c == '[') {
			if (f->depth == OVN_FRAMER_MAX_DEPTH) {
				*used = i;
				return OVN_FRAMER_DEEP;
			}
			f->depth++;
		} else if (!f->depth) {
			if (!is_space(c)) {
				*used = i;
				return OVN_FRAMER_GARBAGE;
			}
		} else if (c == '"') {
			f->in_string = 1;
			i = skip_string(f, data, i + 1, len);
			continue;
		} else if (c == '}' || c == ']') {
			f->depth--;
			if (!f->depth) {
				*used = i + 1;
				return OVN_FRAMER_VALUE;
			}
		}
		i++;
	}
	*used = len;
	return OVN_FRAMER_MORE;
}

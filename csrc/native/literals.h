/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes the texts of matches and actions apart into literals and the rest, for
 * compile/literals.py, which says what a literal is: it has the same in Python,
 * and a test compares them.  In C because every flow of the Southbound is looked at.
 */
#ifndef OVN_BPF_NATIVE_LITERALS_H
#define OVN_BPF_NATIVE_LITERALS_H

#include <stdint.h>

#define OVN_MAX_LITERALS 64
#define OVN_MAX_SHAPE 8192

/* What a literal is replaced by in the shape: bytes that no text has. */
enum ovn_literal {
	OVN_LIT_DECIMAL = 1,
	OVN_LIT_HEX = 2,
	OVN_LIT_IP4 = 3,
	OVN_LIT_IP6 = 4,
	OVN_LIT_ETH = 5,
	OVN_LIT_STRING = 6,
	OVN_LIT_SET = 7,
	OVN_LIT_GROUP = 8,
};

/* Results instead of a length of the shape. */
enum ovn_literals_result {
	OVN_LITERALS_NONE = -1, /* no template: it is odd, or not as the lexer wants it */
	OVN_LITERALS_ASK = -2,	/* too much for this: Python decides */
};

struct ovn_literals {
	uint32_t n;
	uint64_t low[OVN_MAX_LITERALS];	 /* of strings and sets: first << 32 | end, in the text */
	uint64_t high[OVN_MAX_LITERALS]; /* 0 but for IPv6 */
	char shape[OVN_MAX_SHAPE];
};

/* Returns the length of the shape, or an enum ovn_literals_result. */
int ovn_take_apart(const char *text, uint32_t len, struct ovn_literals *out);

#endif

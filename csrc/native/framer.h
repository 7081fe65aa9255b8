/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds where JSON values end in a stream of bytes, for ovsdb/framing.py.  It
 * only counts brackets outside strings: whether the text between them is JSON
 * is the parser's to say.  It is resumable, so that a message of 80 MB which
 * arrives in pieces is looked at once.
 */
#ifndef OVN_BPF_NATIVE_FRAMER_H
#define OVN_BPF_NATIVE_FRAMER_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed at the start of a stream and after each value. */
struct ovn_framer {
	uint32_t depth;	   /* open brackets; 0 before a value */
	uint8_t in_string; /* inside "..." */
	uint8_t escaped;   /* the last byte was a backslash in a string */
};

/* More nesting than any OVSDB message has; parsers recurse. */
#define OVN_FRAMER_MAX_DEPTH 256

enum ovn_framer_result {
	OVN_FRAMER_MORE = 0,	/* everything was scanned, no value ended */
	OVN_FRAMER_VALUE = 1,	/* a value ends before *used */
	OVN_FRAMER_GARBAGE = 2, /* not the start of an object or array */
	OVN_FRAMER_DEEP = 3,	/* nested deeper than the limit */
};

/*
 * Scans len bytes that follow those scanned before.  *used: how many of them
 * belong to the value (white space before it included); len with MORE.
 */
int ovn_framer_scan(struct ovn_framer *f, const uint8_t *data, size_t len, size_t *used);

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Headers one behind the other: IPv6's extensions, of a frame and of what an ICMP
 * error quotes.  Each is one call of a callback, which the verifier sees once.
 */
#ifndef OVN_BPF_CHAIN_H
#define OVN_BPF_CHAIN_H

#include "packet.h"
#include "scratch.h"

struct chain_walk {
	struct __sk_buff *skb;
	struct scratch *s;
};

static __always_inline int is_extension(__u32 next)
{
	return next == PROTO_HOPOPTS || next == PROTO_ROUTING || next == PROTO_DSTOPTS ||
	       next == PROTO_AH || next == PROTO_FRAGMENT;
}

static long next_extension(__u32 i __attribute__((unused)), struct chain_walk *walk)
{
	struct chain *c = &walk->s->chain;
	__u8 e[8] HEADER;
	__u32 frag;

	if (!is_extension(c->next))
		return 1;
	if (c->at + 8 > c->end || bpf_skb_load_bytes(walk->skb, c->at, e, 8)) {
		c->bad = 1;
		return 1;
	}
	c->n++;
	if (c->next == PROTO_FRAGMENT) {
		frag = get16(e + 2);
		if (frag & 0xfff9)
			c->frag |= frag & 0xfff8 ? OVN_FRAG_ANY | OVN_FRAG_LATER : OVN_FRAG_ANY;
		c->at += 8;
		c->frag_at = frag & 0xfff8;
		c->frag_len = c->end - c->at;
		c->frag_id = get32(e + 4);
		c->frag_next = e[0];
	} else {
		c->at += c->next == PROTO_AH ? (e[1] + 2) * 4 : (e[1] + 1) * 8;
	}
	c->next = e[0];
	return (c->frag & OVN_FRAG_LATER) != 0;
}

/*
 * extensions - go from s->chain.at, where header s->chain.next is, to what follows
 * IPv6's extension headers, or to a later fragment's payload
 *
 * Returns 0 and s->chain says the rest, or -1: more than there may be, or behind
 * s->chain.end.
 */
static __always_inline int extensions(struct __sk_buff *skb, struct scratch *s)
{
	struct chain_walk walk = { .skb = skb, .s = s };
	struct chain *c = &s->chain;

	c->n = 0;
	c->frag = 0;
	c->bad = 0;
	if (!is_extension(c->next))
		return 0;
	bpf_loop(OVN_MAX_EXT, next_extension, &walk, 0);
	return c->bad || (c->n == OVN_MAX_EXT && !(c->frag & OVN_FRAG_LATER)) ? -1 : 0;
}

#endif

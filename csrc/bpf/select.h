/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Choosing among several targets (select, fwd_group): a hash over header fields,
 * so that a connection keeps its way, scaled to the sum of the weights.
 */
#ifndef OVN_BPF_SELECT_H
#define OVN_BPF_SELECT_H

#include "scratch.h"

/* MurmurHash3's mixing of one word; Austin Appleby put it in the public domain. */
static __always_inline __u32 hash_mix(__u32 h, __u32 word)
{
	word *= 0xcc9e2d51;
	word = word << 15 | word >> 17;
	h ^= word * 0x1b873593;
	h = h << 13 | h >> 19;
	return h * 5 + 0xe6546b64;
}

static __always_inline __u32 hash_words(__u32 h, const __u32 *w, __u32 n)
{
	__u32 i;

	for (i = 0; i < n; i++)
		h = hash_mix(h, w[i]);
	return h;
}

/* fields: enum ovn_hash.  Fragments of a packet go one way: no ports then. */
static __always_inline __u32 hash_fields(const __u32 *w, __u32 fields)
{
	__u32 h = 0, ports = w[OW_IP] & OVN_FRAG_ANY ? 0 : w[OW_L4_PORTS];

	if (fields & OVN_HASH_IP_SRC)
		h = hash_words(h, w + OW_IP_SRC, 4);
	if (fields & OVN_HASH_IP_DST)
		h = hash_words(h, w + OW_IP_DST, 4);
	if (fields & OVN_HASH_IP_PROTO)
		h = hash_mix(h, w[OW_IP] >> 24);
	if (fields & OVN_HASH_L4_SRC)
		h = hash_mix(h, ports >> 16);
	if (fields & OVN_HASH_L4_DST)
		h = hash_mix(h, ports & 0xffff);
	if (fields & OVN_HASH_ETH_SRC)
		h = hash_words(h, w + OW_ETH_SRC, 2);
	if (fields & OVN_HASH_ETH_DST)
		h = hash_words(h, w + OW_ETH_DST, 2);
	if (fields & OVN_HASH_IP6_LABEL)
		h = hash_mix(h, w[OW_IP6_LABEL]);
	h ^= h >> 16;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	h *= 0xc2b2ae35;
	return h ^ h >> 16;
}

/* A number below n, evenly. */
static __always_inline __u32 hash_below(const __u32 *w, __u32 fields, __u32 n)
{
	return (__u64)hash_fields(w, fields) * n >> 32;
}

#endif

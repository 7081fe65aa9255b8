/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SCTP's checksum, CRC-32c (RFC 9260, appendix A).  A CRC is linear: other ports
 * change it by a polynomial that depends on the packet's length only, so storing
 * them costs no pass over the packet.  Checking it does, four bytes at a time by
 * tables that each CPU makes for itself when it first meets SCTP.
 */
#ifndef OVN_BPF_SCTP_H
#define OVN_BPF_SCTP_H

#include "packet.h"
#include "scratch.h"

#define CRC32C 0x82f63b78 /* x^32 is implied; bit 31 is x^0, bit 0 is x^31 */
#define CRC_BLOCK 256

/* a * b modulo the polynomial. */
static __always_inline __u32 crc_mul(__u32 a, __u32 b)
{
	__u32 i, product = 0;

	for (i = 0; i < 32; i++) {
		product ^= b & -(a >> 31);
		a <<= 1;
		b = b >> 1 ^ (CRC32C & -(b & 1));
	}
	return product;
}

/* x^(8 * bytes) modulo the polynomial; bytes < 65536. */
static __always_inline __u32 crc_shift(__u32 bytes)
{
	__u32 power = 1u << 23 /* x^8 */, result = 1u << 31 /* 1 */, i;

	for (i = 0; i < 16; i++) {
		if (bytes >> i & 1)
			result = crc_mul(power, result);
		power = crc_mul(power, power);
	}
	return result;
}

/* One more word, in the order in which it lies in memory. */
static __always_inline __u32 crc_word(__u32 crc, __u32 word)
{
	__u32 i;

	crc ^= word;
	for (i = 0; i < 32; i++)
		crc = crc >> 1 ^ (CRC32C & -(crc & 1));
	return crc;
}

/* t[k][i]: the CRC of byte i and k zeros. */
struct crc_tables {
	__u32 ready;
	__u32 t[4][256];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct crc_tables);
} ovn_crc SEC(".maps");

/*
 * crc_prepare - make this CPU's tables
 *
 * Returns 0, or -1 when there is no room for them.
 */
__noinline int crc_prepare(void)
{
	struct crc_tables *c = array_at(&ovn_crc, 0);
	__u32 i, k, v;

	if (!c)
		return -1;
	if (c->ready)
		return 0;
	for (i = 0; i < 256; i++) {
		for (v = i, k = 0; k < 8; k++)
			v = v >> 1 ^ (CRC32C & -(v & 1));
		c->t[0][i] = v;
	}
	for (k = 1; k < 4; k++)
		for (i = 0; i < 256; i++) {
			v = c->t[k - 1][i];
			c->t[k][i] = v >> 8 ^ c->t[0][v & 0xff];
		}
	c->ready = 1;
	return 0;
}

/*
 * crc_words - go on with the first n words of s->buf, CRC_BLOCK bytes at most
 *
 * A function that is verified by itself: nothing to combine with its callers.
 */
__noinline __u32 crc_words(__u32 depth, __u32 crc, __u32 n)
{
	const struct crc_tables *c = array_at(&ovn_crc, 0);
	const struct scratch *s = scratch_at(depth);
	__u32 i;

	if (!s || !c)
		return 0;
	for (i = 0; i < CRC_BLOCK / 4; i++) {
		if (i >= n)
			break;
		crc ^= s->buf.words[i];
		crc = c->t[3][crc & 0xff] ^ c->t[2][crc >> 8 & 0xff] ^ c->t[1][crc >> 16 & 0xff] ^
		      c->t[0][crc >> 24];
	}
	return crc;
}

struct crc_walk {
	struct __sk_buff *skb;
	struct scratch *s;
	__u32 depth;
	__u32 at;
	__u32 left;
	__u32 crc;
};

static long crc_block(__u32 i, struct crc_walk *c)
{
	__u32 n = c->left < CRC_BLOCK ? c->left : CRC_BLOCK;

	n--;
	hide(n);
	n = (n & (CRC_BLOCK - 1)) + 1;
	if (bpf_skb_load_bytes(c->skb, c->at, c->s->buf.words, n))
		return 1;
	if (!i)
		c->s->buf.words[2] = 0; /* the checksum itself */
	c->crc = crc_words(c->depth, c->crc, n / 4);
	c->at += n;
	c->left -= n;
	return !c->left;
}

/* Is the checksum of the packet at s->l4 right, or left to a device (0)? */
static __always_inline int sctp_sum_good(struct __sk_buff *skb, struct scratch *s, __u32 depth)
{
	struct crc_walk c = { .skb = skb, .s = s, .depth = depth, .crc = ~0u };
	__u32 csum;

	c.at = s->l4;
	c.left = s->l4_len;
	/* Chunks are padded to words (RFC 9260, section 3.2). */
	if (c.left & 3 || c.left < 12 || bpf_skb_load_bytes(skb, s->l4 + 8, &csum, 4))
		return 0;
	if (!csum)
		return 1;
	if (crc_prepare())
		return 0;
	bpf_loop(65536 / CRC_BLOCK, crc_block, &c, 0);
	return !c.left && ~c.crc == csum;
}

/*
 * sctp_ports - the checksum after a change of the ports
 *
 * csum: as it lies in the packet of `len` bytes; was, is: the ports, as they lie
 * there.  The sender of csum 0 leaves it to a device.
 */
static __always_inline __u32 sctp_ports(__u32 csum, __u32 was, __u32 is, __u32 len)
{
	if (!csum)
		return 0;
	return csum ^ crc_mul(crc_word(0, was ^ is), crc_shift((len - 4) & 0xffff));
}

#endif

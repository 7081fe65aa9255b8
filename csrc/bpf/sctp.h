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

/* x if the bit is 1, else 0.  No branch, and no mask either: the verifier would go both
 * ways each time, as 6.18 does where it sees 0 or -1. */
static __always_inline __u32 crc_if(__u32 bit, __u32 x)
{
	hide(bit);
	return bit * x;
}

/* crc_mul - a * b modulo the polynomial.  Verified by itself, once, as crc_word(). */
__noinline __u32 crc_mul(__u32 a, __u32 b)
{
	__u32 i, product = 0;

	for (i = 0; i < 32; i++) {
		product ^= crc_if(a >> 31, b);
		a <<= 1;
		b = b >> 1 ^ crc_if(b & 1, CRC32C);
	}
	return product;
}

/* x^(8 * bytes) modulo the polynomial, by each four bits of a length. */
static const __u32 crc_shifts[4][16] = {
	{ 0x80000000, 0x00800000, 0x00008000, 0x00000080, 0x82f63b78, 0xfbc3faf9, 0x8b277743,
	  0x52a0c93f, 0x6ea2d55c, 0x1c08b7d6, 0xf56e0ef4, 0x34019664, 0xa66805eb, 0x7a1f6b24,
	  0xe75d06aa, 0xc94ec098 },
	{ 0x80000000, 0x18b8ea18, 0x510ac59a, 0xb2dea967, 0xb82be955, 0x36c41f1c, 0x19b29a35,
	  0xc9e90b9e, 0xb8fdb1e7, 0xe55ef1f3, 0x1fe0b5c3, 0xe0553f1e, 0x18e4a304, 0x2b830011,
	  0x56993a31, 0x0246e2e6 },
	{ 0x80000000, 0x88e56f72, 0x74c360a4, 0x631bb273, 0xe4172b16, 0x71892b1b, 0x835305c9,
	  0x196b1eae, 0x0d65762a, 0xafc81338, 0xb5a50ab7, 0xf373c3ac, 0x5f60970f, 0xd46d3063,
	  0x3a5275ea, 0x02331c01 },
	{ 0x80000000, 0x35d73a62, 0x28461564, 0x43eefc9f, 0xbf455269, 0x5edcdeb9, 0x65059450,
	  0x4e6f41a4, 0xe2ea32dc, 0xf5b95b32, 0x695a4c87, 0xf204502c, 0x9a4f01b6, 0x941a0916,
	  0x4303cb97, 0x4c3d3d65 }
};

/* x^(8 * bytes) modulo the polynomial; bytes < 65536.  From a table: multiplying is
 * what costs here, the verifier above all. */
static __always_inline __u32 crc_shift(__u32 bytes)
{
	__u32 low = crc_mul(crc_shifts[0][bytes & 15], crc_shifts[1][bytes >> 4 & 15]);
	__u32 high = crc_mul(crc_shifts[2][bytes >> 8 & 15], crc_shifts[3][bytes >> 12 & 15]);

	return crc_mul(low, high);
}

/* crc_word - one more word, in the order in which it lies in memory */
__noinline __u32 crc_word(__u32 crc, __u32 word)
{
	__u32 i;

	crc ^= word;
	for (i = 0; i < 32; i++)
		crc = crc >> 1 ^ crc_if(crc & 1, CRC32C);
	return crc;
}

/* t[k][i]: the CRC of byte i and k zeros. */
struct crc_tables {
	__u32 ready;
	__u32 t[4][256];
};
/* Tables for the CRC of SCTP packets. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct crc_tables);
} ovn_crc SEC(".maps");

/* Entry n & 255 of table n >> 8; a callback, so that the verifier sees it once. */
static long crc_entry(__u32 n, const __u32 *unused __attribute__((unused)))
{
	struct crc_tables *c = array_at(&ovn_crc, 0);
	__u32 i = n & 255, k = n >> 8 & 3, before = k - 1, v = i, bit;

	if (!c)
		return 1;
	hide(before);
	if (k) {
		v = c->t[before & 3][i];
		v = v >> 8 ^ c->t[0][v & 255];
	} else {
		for (bit = 0; bit < 8; bit++)
			v = v >> 1 ^ crc_if(v & 1, CRC32C);
	}
	c->t[k][i] = v;
	return 0;
}

/*
 * crc_prepare - make this CPU's tables
 *
 * Returns 0, or -1 when there is no room for them.
 */
__noinline int crc_prepare(void)
{
	struct crc_tables *c = array_at(&ovn_crc, 0);

	if (!c)
		return -1;
	if (c->ready)
		return 0;
	bpf_loop(4 * 256, crc_entry, NULL, 0);
	c->ready = 1;
	return 0;
}

/*
 * crc_words - go on with the first n words of s->buf, CRC_BLOCK bytes at most
 *
 * A function that is verified by itself: nothing to combine with its callers.
 */
__noinline __u32 crc_words(struct scratch *s, __u32 crc, __u32 n)
{
	const struct crc_tables *c = array_at(&ovn_crc, 0);
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
	c->crc = crc_words(c->s, c->crc, n / 4);
	c->at += n;
	c->left -= n;
	return !c->left;
}

/* Is the checksum of the packet at s->l4 right, or left to a device (0)? */
static __always_inline int sctp_sum_good(struct __sk_buff *skb, struct scratch *s)
{
	struct crc_walk c = { .skb = skb, .s = s, .crc = ~0u };
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

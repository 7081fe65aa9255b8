/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * put_dhcp_opts: a DHCP request becomes the reply that the agent has made of the flow's
 * options (RFC 2131), as slowpath/dhcpv4.py does it.
 */
#ifndef OVN_BPF_SERVE_DHCP_H
#define OVN_BPF_SERVE_DHCP_H

#include "chain.h"
#include "serve.h"

#define DHCP_COOKIE 0x63825363
#define DHCP_HEADER 240 /* bytes, the cookie included */
#define DHCP_TAIL 9	/* bytes behind the options: end, between zeroes */

#define DHCP_REPLY 2
#define DHCP_BROADCAST 0x80

enum { DHCP_DISCOVER = 1, DHCP_OFFER, DHCP_REQUEST, DHCP_ACK = 5, DHCP_NAK, DHCP_INFORM = 8 };
enum { DHCP_PAD = 0, DHCP_WANTED = 50, DHCP_TYPE = 53, DHCP_ETHERBOOT = 175, DHCP_END = 255 };

static long dhcp_option(__u32 i __attribute__((unused)), struct chain_walk *walk)
{
	struct dhcp_scan *c = &walk->s->serve.scan;
	struct __sk_buff *skb = walk->skb;
	__u8 h[4] HEADER;

	c->done = 1;
	if (c->at >= c->end || bpf_skb_load_bytes(skb, c->at, h, 1) || h[0] == DHCP_END)
		return 1;
	if (h[0] == DHCP_PAD) {
		c->done = 0;
		c->at++;
		return 0;
	}
	if (c->at + 2 > c->end || bpf_skb_load_bytes(skb, c->at, h, 2) || c->at + 2 + h[1] > c->end)
		return 1;
	c->at += 2;
	if (h[0] == DHCP_TYPE && !c->type) {
		c->type = h[1] << 8 | 1 << 16;
		if (h[1] && !bpf_skb_load_bytes(skb, c->at, h + 2, 1))
			c->type |= h[2];
	} else if (h[0] == DHCP_WANTED && !c->seen) {
		c->seen = 1;
		if (h[1] == 4 && bpf_skb_load_bytes(skb, c->at, &c->wanted, 4))
			return 1;
	} else if (h[0] == DHCP_ETHERBOOT) {
		c->ipxe = 1;
	}
	c->at += h[1];
	c->done = 0;
	return 0;
}

/* The request, in s->serve.scan; SERVE_DONE if it is one. */
static __noinline int dhcp_request(struct __sk_buff *skb, struct scratch *s)
{
	struct chain_walk walk = { .skb = skb, .s = s };
	struct dhcp_scan *c = &s->serve.scan;
	__u32 at = s->l4 + UDP_LEN;
	__be16 len;
	__u8 b[4] HEADER;

	if (s->wire[HDR(OW_ETH_TYPE)] >> 16 != ETH_P_IP || IP_PROTO(s) != PROTO_UDP || !s->l4 ||
	    s->ip4_len != IP4_LEN)
		return SERVE_PASS;
	if (bpf_skb_load_bytes(skb, s->l4 + 4, &len, 2) || bpf_ntohs(len) > s->l4_len ||
	    bpf_ntohs(len) < UDP_LEN + DHCP_HEADER)
		return SERVE_NO;
	if (bpf_skb_load_bytes(skb, at + DHCP_HEADER - 4, b, 4) || get32(b) != DHCP_COOKIE ||
	    bpf_skb_load_bytes(skb, at, b, 1) || b[0] != 1)
		return SERVE_NO;
	__builtin_memset(c, 0, sizeof(*c));
	c->at = at + DHCP_HEADER;
	c->end = s->l4 + bpf_ntohs(len);
	bpf_loop(OVN_MAX_DHCP, dhcp_option, &walk, 0);
	if (!c->done)
		return SERVE_PASS;
	return (c->type >> 8 & 0xff) == 1 ? SERVE_DONE : SERVE_NO;
}

/*
 * dhcp_reply - write it over the request
 *
 * kind: of the reply.  inform: it is for one who has an address.  Returns
 * SERVE_DONE or a drop reason.
 */
static __noinline int dhcp_reply(struct __sk_buff *skb, struct scratch *s, __u32 kind, __u32 inform)
{
	__u32 at = s->l4 + UDP_LEN, len = kind == DHCP_NAK ? 0 : s->serve.reply.len;
	__u32 whole = DHCP_HEADER + 3 + len + DHCP_TAIL, to = s->serve.reply.offer;
	__u8 *h = s->buf.bytes, tail[DHCP_TAIL] = { 0, 0, 0, 0, DHCP_END };
	int err;

	if (bpf_skb_load_bytes(skb, at, h, DHCP_HEADER))
		return DROP_STORE;
	err = resize(skb, s, s->l4 + 6, at + whole);
	if (err)
		return err;
	h[0] = DHCP_REPLY;
	if (h[10] & DHCP_BROADCAST)
		to = 0xffffffff;
	if (kind == DHCP_NAK || inform)
		put32(h + 16, 0);
	else
		put32(h + 16, s->serve.reply.offer);
	if (kind == DHCP_NAK)
		put32(h + 20, 0);
	else if (!inform && s->serve.reply.next_server)
		put32(h + 20, s->serve.reply.next_server);
	h[DHCP_HEADER] = DHCP_TYPE;
	h[DHCP_HEADER + 1] = 1;
	h[DHCP_HEADER + 2] = kind;
	if (bpf_skb_store_bytes(skb, at, h, DHCP_HEADER + 3, 0))
		return DROP_STORE;
	at += DHCP_HEADER + 3;
	if (len && bpf_skb_store_bytes(skb, at, s->serve.reply.bytes, template_len(len), 0))
		return DROP_STORE;
	if (bpf_skb_store_bytes(skb, at + len, tail, DHCP_TAIL, 0))
		return DROP_STORE;
	return put_udp(skb, s, whole, to);
}

/* Returns enum serve_result or a drop reason. */
static __noinline int serve_dhcp(struct __sk_buff *skb, struct scratch *s)
{
	const struct dhcp_scan *c = &s->serve.scan;
	__u32 kind, variant, wanted;
	int err;

	if (!s)
		return DROP_BUG;
	err = dhcp_request(skb, s);
	if (err)
		return err;
	kind = c->type & 0xff;
	if (kind != DHCP_DISCOVER && kind != DHCP_REQUEST && kind != DHCP_INFORM)
		return SERVE_NO;
	variant =
		(c->ipxe ? OVN_TEMPLATE_IPXE : 0) | (kind == DHCP_INFORM ? OVN_TEMPLATE_INFORM : 0);
	if (!find_template(s, variant))
		return SERVE_PASS;
	wanted = c->wanted;
	if (!wanted && bpf_skb_load_bytes(skb, s->l4 + UDP_LEN + 12, &wanted, 4))
		return DROP_STORE; /* ciaddr: a renewal */
	if (kind == DHCP_REQUEST)
		variant = wanted == bpf_htonl(s->serve.reply.offer) ? DHCP_ACK : DHCP_NAK;
	else
		variant = kind == DHCP_DISCOVER ? DHCP_OFFER : DHCP_ACK;
	err = dhcp_reply(skb, s, variant, kind == DHCP_INFORM);
	return err ?: answered(s);
}

#endif

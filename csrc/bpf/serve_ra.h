/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * put_nd_ra_opts: a router solicitation becomes the advertisement that the agent has
 * made of the flow's options (RFC 4861, section 4.2), as slowpath/advertisements.py
 * does it.
 */
#ifndef OVN_BPF_SERVE_RA_H
#define OVN_BPF_SERVE_RA_H

#include "serve.h"

#define ND_RS 133
#define RS_AT (ETH_LEN + IP6_LEN)

/* Returns enum serve_result or a drop reason. */
static __noinline int serve_ra(struct __sk_buff *skb, struct scratch *s)
{
	__u32 *b, *ip, len, sum;
	int err;

	if (!s)
		return DROP_BUG;
	if (s->wire[HDR(OW_ETH_TYPE)] >> 16 != ETH_P_IPV6 || IP_PROTO(s) != PROTO_ICMP6 ||
	    s->wire[HDR(OW_L4_PORTS)] != ND_RS << 16)
		return SERVE_NO;
	if (s->l4 != RS_AT || !find_template(s, OVN_TEMPLATE_PLAIN))
		return SERVE_PASS;
	len = s->serve.reply.len;
	err = resize(skb, s, RS_AT + 2, RS_AT + len);
	if (err)
		return err;
	ip = s->buf.words;
	if (bpf_skb_load_bytes(skb, ETH_LEN, ip, IP6_LEN))
		return DROP_STORE;
	ip[1] = bpf_htonl(len << 16 | (bpf_ntohl(ip[1]) & 0xffff));
	if (!(ip[2] | ip[3] | ip[4] | ip[5])) { /* nobody asked by name: to all nodes */
		ip[2] = bpf_htonl(0xff020000);
		ip[5] = bpf_htonl(1);
	}
	if (bpf_skb_store_bytes(skb, ETH_LEN, ip, IP6_LEN, 0))
		return DROP_STORE;
	b = (__u32 *)s->serve.reply.bytes;
	sum = bpf_csum_diff(NULL, 0, ip + 2, 32, bpf_htons(len) + bpf_htons(PROTO_ICMP6));
	sum = (__u16)~csum_fold(sum);
	if (!s->serve.partial) {
		sum = bpf_csum_diff(NULL, 0, b, OVN_TEMPLATE_BYTES, sum);
		sum = csum_fold(sum);
	}
	*(__u16 *)(s->serve.reply.bytes + 2) = sum;
	if (bpf_skb_store_bytes(skb, RS_AT, b, template_len(len), 0))
		return DROP_STORE;
	return answered(s);
}

#endif

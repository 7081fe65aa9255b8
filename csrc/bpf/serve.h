/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * OP_PUNTs that need no slow path, since the agent has made the answer ready.  ovn_run
 * ends in program ovn_serve when punt() says so; that writes the answer over the frame
 * (serve_*.h, by verb) and ends in ovn_run, behind the OP_PUNT, as a packet that comes
 * back from the slow path does.  The frame is the same as that one, but for a UDP
 * checksum that a device is to fill in: there is then a whole one.
 */
#ifndef OVN_BPF_SERVE_H
#define OVN_BPF_SERVE_H

#include "answer.h"
#include "entry.h"

#define EINVAL 22

/* What it came to; more than 0 is a drop reason. */
enum serve_result {
	SERVE_DONE = 0,	 /* the frame is the answer */
	SERVE_NO = -1,	 /* there is none: the packet goes on as it is */
	SERVE_PASS = -2, /* not for us: the slow path may know */
};

/* The OP_PUNT goes the old way. */
static __always_inline void not_served(struct scratch *s)
{
	push(s, FR_PUNT, 0, s->serve.pc, 1, 0);
	s->serve.pc = 0;
}

/* The end of ovn_serve. */
static __always_inline int served(struct __sk_buff *skb, struct scratch *s, int result)
{
	const struct ovn_insn *in = insn_at(s->serve.pc);
	int reason = !in ? DROP_BUG : result;

	if (reason > 0) {
		drop_branch(skb, s, reason);
		return leave(s, TC_ACT_SHOT);
	}
	if (!in || result == SERVE_PASS) {
		not_served(s);
	} else {
		count(&ovn_served, 2 * in->a + (result == SERVE_NO), skb->len);
		if (in->src & OVN_PUNT_ANSWERS)
			set_bit(s->cur.w, in->dst, in->aux, result == SERVE_DONE);
		push(s, FR_ACTS, s->cur.egress, s->serve.pc + 1, 0, 0);
		s->serve.pc = 0;
	}
	return call_run(skb, s, 0);
}

/*
 * find_template - what the agent made for an OP_PUNT, copied to scratch memory
 *
 * Returns 0 if there is none, or it is being written.  Like resize() and put_udp() it is
 * verified by itself, once for all verbs.
 */
__noinline int find_template(struct scratch *s, __u32 variant)
{
	struct ovn_template_key key = {};
	const struct ovn_template *found;
	const struct ovn_insn *in;
	struct ovn_template *t;

	if (!s)
		return 0;
	in = insn_at(s->serve.pc);
	t = &s->serve.reply;
	if (!in)
		return 0;
	key.verb = in->a;
	key.arg = in->b;
	found = bpf_map_lookup_elem(&ovn_templates, &key);
	if (found && variant)
		key.variant = found->means >> (8 * variant & 31) & 0xff;
	if (found && key.variant)
		found = bpf_map_lookup_elem(&ovn_templates, &key);
	if (!found)
		return 0;
	__builtin_memcpy(t, found, sizeof(*t));
	barrier();
	return t->first == t->last && t->first == *(volatile const __u64 *)&found->first &&
	       t->key.verb == key.verb && t->key.arg == key.arg && t->key.variant == key.variant &&
	       t->len <= OVN_TEMPLATE_BYTES;
}

/* Bytes of a template in a form that the verifiers of 6.1 and 6.12 see to be one; at
 * least 1. */
static __always_inline __u32 template_len(__u32 len)
{
	len--;
	hide(len);
	return (len & (OVN_TEMPLATE_BYTES - 1)) + 1;
}

/*
 * resize - the frame gets `len` bytes, of which the caller writes those behind the
 * network header anew
 *
 * Finds out on the way whether its transport checksum is left to a device: such a
 * frame cannot be cut in front of that sum, which is at `sum`.  Returns 0 or a drop
 * reason.
 */
__noinline int resize(struct __sk_buff *skb, struct scratch *s, __u32 sum, __u32 len)
{
	int err;

	if (!s)
		return DROP_BUG;
	if (others_need(s) && keep_frame(skb, s))
		return DROP_NO_REPLY;
	err = bpf_skb_change_tail(skb, sum + 1, 0);
	s->serve.partial = err == -EINVAL;
	if (err && err != -EINVAL)
		return DROP_STORE;
	return bpf_skb_change_tail(skb, len, 0) ? DROP_STORE : 0;
}

/* The frame is the answer: ovn_run parses it. */
static __always_inline int answered(struct scratch *s)
{
	s->way = WAY_SERVED;
	s->serve.kept = others_need(s);
	return SERVE_DONE;
}

/*
 * put_udp - the lengths and checksums of a UDP datagram with `len` bytes of payload
 *
 * to: IPv4's new destination, host order, 0: the one it has.  Returns 0 or a drop reason.
 */
__noinline int put_udp(struct __sk_buff *skb, struct scratch *s, __u32 len, __u32 to)
{
	__u32 udp[2], *ip;
	__u16 sum;

	if (!s)
		return DROP_BUG;
	ip = s->buf.words;
	s->l4_len = UDP_LEN + len;
	if (bpf_skb_load_bytes(skb, s->l4, udp, 4))
		return DROP_STORE;
	if (s->ip4_len) {
		if (bpf_skb_load_bytes(skb, s->l3, ip, IP4_LEN))
			return DROP_STORE;
		if (to) {
			s->wire[HDR(OW_IP_DST + 3)] = to;
			ip[4] = bpf_htonl(to);
		}
		ip[0] = bpf_htonl((bpf_ntohl(ip[0]) & 0xffff0000) | (IP4_LEN + s->l4_len));
		ip[2] &= bpf_htonl(0xffff0000);
		ip[2] |= bpf_htonl(bpf_ntohs(csum_fold(bpf_csum_diff(NULL, 0, ip, IP4_LEN, 0))));
		if (bpf_skb_store_bytes(skb, s->l3, ip, IP4_LEN, 0))
			return DROP_STORE;
	} else {
		__be16 length = bpf_htons(s->l4_len);

		if (bpf_skb_store_bytes(skb, s->l3 + 4, &length, 2, 0))
			return DROP_STORE;
	}
	udp[1] = bpf_htonl(s->l4_len << 16);
	if (bpf_skb_store_bytes(skb, s->l4, udp, sizeof(udp), 0))
		return DROP_STORE;
	if (!s->serve.partial && s->ip4_len)
		return 0;
	sum = pseudo_sum(s, PROTO_UDP);
	if (!s->serve.partial) {
		int body = block_sum(skb, s, s->l4, s->l4_len);

		if (body < 0)
			return DROP_STORE;
		sum = csum_fold(sum + body) ?: 0xffff;
	}
	return bpf_skb_store_bytes(skb, s->l4 + 6, &sum, 2, 0) ? DROP_STORE : 0;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The frame becomes what answers it, or again the frame that came: a context may
 * say either, while there is one frame for all of them.  Called by store() and by
 * nobody else; each step is a function of its own to keep the stack short.
 */
#ifndef OVN_BPF_ANSWER_H
#define OVN_BPF_ANSWER_H

#include "reply.h"

#define NA_LEN (ETH_LEN + IP6_LEN + ND_LEN + 8)

/* A length of 1 to OVN_ORIG_BYTES, in a form that the verifiers of 6.1 and 6.12
 * see to be one. */
static __always_inline __u32 orig_len(__u32 len)
{
	len--;
	hide(len);
	return (len & (OVN_ORIG_BYTES - 1)) + 1;
}

/* Keep the frame for the work that is left after the reply. */
static __always_inline int keep_frame(struct __sk_buff *skb, struct scratch *s)
{
	__u32 len = skb->len - s->off;

	s->orig_len = 0;
	if (len > 0 && len <= OVN_ORIG_BYTES &&
	    !bpf_skb_load_bytes(skb, s->off, s->orig, orig_len(len)))
		s->orig_len = len;
	if (!s->orig_len && !last_use(s))
		return DROP_NO_REPLY;
	s->orig_l4 = s->l4;
	s->orig_l4_len = s->l4_len;
	s->owire_id = s->wire_id;
	__builtin_memcpy(s->owire, s->wire, sizeof(s->wire));
	return 0;
}

/* The other way: the frame as it came. */
static __always_inline int restore_frame(struct __sk_buff *skb, struct scratch *s)
{
	__u32 len = s->orig_len, tci = s->wire[HDR(OW_ETH_TYPE)] & 0xffff;

	if (len < 1 || len > OVN_ORIG_BYTES || cut(skb, s, s->off + len) ||
	    bpf_skb_store_bytes(skb, s->off, s->orig, orig_len(len), BPF_F_RECOMPUTE_CSUM))
		return DROP_STORE;
	__builtin_memcpy(s->wire, s->owire, sizeof(s->wire));
	/* The tag is none of the frame's bytes. */
	s->wire[HDR(OW_ETH_TYPE)] = (s->wire[HDR(OW_ETH_TYPE)] & 0xffff0000) | tci;
	s->wire_id = s->owire_id;
	s->wire_inner.kind = QUOTE_NONE; /* errors are not answered */
	s->l4 = s->orig_l4;
	s->l4_len = s->orig_l4_len;
	s->wire_reply = 0;
	return 0;
}

/*
 * A neighbour advertisement: all of it follows from the words (RFC 4861, section
 * 4.4).
 */
static __always_inline int put_na(struct __sk_buff *skb, struct scratch *s)
{
	const __u32 *w = s->cur.w;
	__u8 *f = s->buf.bytes + 2, *ip = f + ETH_LEN, *nd = ip + IP6_LEN;
	__u32 i;
	__u16 csum;

	if (cut(skb, s, s->off + NA_LEN))
		return DROP_STORE;
	put_mac(f, w + OW_ETH_DST);
	put_mac(f + 6, w + OW_ETH_SRC);
	put16(f + 12, ETH_P_IPV6);
	put32(ip, 6u << 28 | (w[OW_IP] & 0xff00) << 12);
	put16(ip + 4, ND_LEN + 8);
	ip[6] = PROTO_ICMP6;
	ip[7] = 255;
	for (i = 0; i < 4; i++) {
		put32(ip + 8 + 4 * i, w[OW_IP_SRC + i]);
		put32(ip + 24 + 4 * i, w[OW_IP_DST + i]);
		put32(nd + 8 + 4 * i, w[OW_ND_TARGET + i]);
	}
	put32(nd, ND_NA << 24);
	put32(nd + 4, s->cur.reply & 0xff000000);
	nd[24] = ND_OPT_TLL;
	nd[25] = 1;
	put_mac(nd + 26, w + OW_ND_TLL);
	/* Addresses and message lie side by side; length and protocol are the
	 * rest of the pseudo header. */
	csum = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)(ip + 8), 32 + ND_LEN + 8,
				       bpf_htons(ND_LEN + 8) + bpf_htons(PROTO_ICMP6)));
	*(__u16 *)(nd + 2) = csum;
	/* skb->csum, if there is one, starts behind the Ethernet header. */
	if (bpf_skb_store_bytes(skb, s->off, f, ETH_LEN, 0) ||
	    bpf_skb_store_bytes(skb, s->off + ETH_LEN, ip, NA_LEN - ETH_LEN, BPF_F_RECOMPUTE_CSUM))
		return DROP_STORE;
	return 0;
}

/*
 * turn_frame - make room in the frame for the reply that the context says
 *
 * Or make it the frame that came, when the context says so.  Returns 0 or a drop
 * reason.
 */
__noinline int turn_frame(struct __sk_buff *skb, struct scratch *s)
{
	__u32 kind, err = 0;

	if (!s)
		return DROP_BUG;
	kind = s->cur.reply & 0xff;
	if (s->wire_reply)
		err = restore_frame(skb, s);
	if (!err && kind)
		err = keep_frame(skb, s);
	if (!err && kind == REPLY_ERROR)
		err = make_error(skb, s);
	else if (!err && kind == REPLY_RESET)
		err = make_reset(skb, s);
	else if (!err && kind == REPLY_ABORT)
		err = make_abort(skb, s);
	else if (!err && kind == REPLY_SERVED)
		err = DROP_STORE; /* that was overwritten */
	return err;
}

/*
 * put_reply - write the headers of the reply, all of them
 *
 * gained: what the sum of an error's quotation gained by other addresses and
 * ports.  Returns 0 or a drop reason.
 */
__noinline int put_reply(struct __sk_buff *skb, struct scratch *s, __u32 gained)
{
	__u32 kind, err;

	if (!s)
		return DROP_BUG;
	kind = s->cur.reply & 0xff;
	if (kind == REPLY_ERROR)
		s->reply_sum = (__u16)~csum_fold(s->reply_sum + (gained & 0xffff));
	err = kind == REPLY_NA	    ? put_na(skb, s)
	      : kind == REPLY_ERROR ? put_error(skb, s)
	      : kind == REPLY_ABORT ? put_abort(skb, s)
				    : put_reset(skb, s);
	if (!err)
		s->wire_reply = s->cur.reply;
	return err;
}

#endif

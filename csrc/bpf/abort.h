/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SCTP ABORT chunks in answer to the frame in hand, out of the blue (RFC 9260,
 * section 8.4): all of the frame but its headers goes.  Called by store() and by
 * nobody else.
 */
#ifndef OVN_BPF_ABORT_H
#define OVN_BPF_ABORT_H

#include "reset.h"
#include "sctp.h"

#define SCTP_LEN 12
#define SCTP_CHUNK_LEN 4
#define SCTP_ABORT_LEN (SCTP_LEN + SCTP_CHUNK_LEN)
#define SCTP_INIT 1
#define SCTP_ABORT 6
#define SCTP_ABORT_T 1 /* the verification tag is the one that came */

/* Take the tag out of the packet and cut the frame to size. */
static __always_inline int make_abort(struct __sk_buff *skb, struct scratch *s)
{
	int ip6 = s->wire[OW_ETH_TYPE - OW_HEADERS] >> 16 == ETH_P_IPV6;
	__u32 hlen = ETH_LEN + (ip6 ? IP6_LEN : IP4_LEN);
	__u8 sctp[SCTP_ABORT_LEN] HEADER, tag[4] HEADER;

	if (s->off || s->l3 != ETH_LEN)
		return DROP_STORE;
	if (!s->l4 || bpf_skb_load_bytes(skb, s->l4, sctp, sizeof(sctp)) ||
	    sctp[SCTP_LEN] == SCTP_ABORT)
		return DROP_NO_REPLY;
	s->reply_seq = get32(sctp + 4);
	s->reply_ack = SCTP_ABORT_T;
	if (sctp[SCTP_LEN] == SCTP_INIT) {
		if (bpf_skb_load_bytes(skb, s->l4 + SCTP_ABORT_LEN, tag, sizeof(tag)))
			return DROP_NO_REPLY;
		if (!s->reply_seq) {
			s->reply_seq = get32(tag);
			s->reply_ack = 0;
		}
	}
	/* Without a checksum the device will make one, of what follows the old
	 * header: it must be the new one. */
	s->reply_sum = !get32(sctp + 8);
	if (s->reply_sum && s->l4 != hlen)
		return DROP_NO_REPLY;
	return cut(skb, s, hlen + SCTP_ABORT_LEN) ? DROP_STORE : 0;
}

/* The words as the whole frame. */
static __always_inline int put_abort(struct __sk_buff *skb, struct scratch *s)
{
	const __u32 *w = s->cur.w;
	__u8 *f = s->buf.bytes + 2, *sctp;
	int ip6 = w[OW_ETH_TYPE] >> 16 == ETH_P_IPV6;
	__u32 chunk = SCTP_ABORT << 24 | s->reply_ack << 16 | SCTP_CHUNK_LEN, crc;

	crc = crc_word(~0u, bpf_htonl(w[OW_L4_PORTS]));
	crc = crc_word(crc, bpf_htonl(s->reply_seq));
	crc = crc_word(crc, 0);
	crc = s->reply_sum ? 0 : ~crc_word(crc, bpf_htonl(chunk));
	__builtin_memset(f, 0, ETH_LEN + IP6_LEN + SCTP_ABORT_LEN);
	put_ip(w, f, PROTO_SCTP, SCTP_ABORT_LEN);
	sctp = f + ETH_LEN + (ip6 ? IP6_LEN : IP4_LEN);
	put32(sctp, w[OW_L4_PORTS]);
	put32(sctp + 4, s->reply_seq);
	put32(sctp + 8, bpf_htonl(crc)); /* as crc_word() has it: in memory's order */
	put32(sctp + 12, chunk);
	s->l4 = ETH_LEN + (ip6 ? IP6_LEN : IP4_LEN);
	if (bpf_skb_store_bytes(skb, s->off, f, ETH_LEN, 0) ||
	    (ip6 ? bpf_skb_store_bytes(skb, s->off + ETH_LEN, f + ETH_LEN, IP6_LEN + SCTP_ABORT_LEN,
				       BPF_F_RECOMPUTE_CSUM)
		 : bpf_skb_store_bytes(skb, s->off + ETH_LEN, f + ETH_LEN, IP4_LEN + SCTP_ABORT_LEN,
				       BPF_F_RECOMPUTE_CSUM)))
		return DROP_STORE;
	return 0;
}

#endif

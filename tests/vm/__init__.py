# SPDX-License-Identifier: Apache-2.0
"""Tests on other kernels: Debian's own, under QEMU without hardware help.

Part of `make check-long`.  `image` makes a Debian 12 root once, into a cache
outside the repository; `machine` boots it and runs a job with the work tree's
package.  See README.md.
"""

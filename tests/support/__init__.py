# SPDX-License-Identifier: Apache-2.0
"""What several test suites share: real servers and namespaces, never mocks."""

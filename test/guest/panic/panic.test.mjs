// Runs in the guest, by harness.test.ts: ends the guest's kernel, so that no verdict comes back.
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'

void test('panics on purpose', () => writeFileSync('/proc/sysrq-trigger', 'c'))

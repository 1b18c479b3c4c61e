// Runs in the guest, by harness.test.ts, which expects it to fail.
import assert from 'node:assert/strict'
import { test } from 'node:test'

void test('fails on purpose', () => assert.equal(1 + 1, 3))

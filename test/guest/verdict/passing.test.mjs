// Runs in the guest, by harness.test.ts.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { featureNames, featureSet } from '@virtio-ts/spec'

void test('imports the packages of the checkout, as built', () => {
  assert.deepEqual(featureNames(featureSet(90), {}), ['bit 90'])
})
void test('has the kernel of the guest', () => assert.match(readFileSync('/proc/cmdline', 'utf8'), /rdinit=\/init/))

// `node --import` this file to run a source of this repository as it is, without a build.
import { register } from 'node:module'

if (!process.features.typescript) register('./source-hooks.mjs', import.meta.url)

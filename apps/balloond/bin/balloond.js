#!/usr/bin/env node
// Plain JavaScript on purpose: it must run, and speak clearly, where nothing has been built and where Node is too old.
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    `balloond: Node.js ${process.versions.node} is too old\n  balloond needs Node.js 20.19 or newer\n  fix: install a newer Node.js, https://nodejs.org`,
  )
  process.exit(1)
}

const main = new URL('../dist/main.js', import.meta.url)
let start
try {
  ;({ start } = await import(main.href))
} catch (error) {
  if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error
  console.error(
    `balloond: not built\n  ${error.message.split('\n')[0]}\n  fix: npm run build   (in the checkout; or npm start, which installs and builds first)`,
  )
  process.exit(1)
}
start()

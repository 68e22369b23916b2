// Keeps what the labs load, so that they open again without a network, and leaves the rest to JupyterLite's own worker:
// the requests by which Python reads and writes the reader's files. Ours listens first.
//
// An address in a folder below FIXED changes with its content, so what is kept of it is right for ever. Everything
// else is asked of the site first. KEPT is named by what the folder holds: a new build drops what an old one kept.
const KEPT = "costlab-labs-@DIGEST@"
const NOTEBOOKS = @NOTEBOOKS@
const FIXED = /\/(lite\/build|lite\/extensions|_static\/live_sliders\/(pyodide-|wheels\/))/
const JUPYTERLITE = /\/api\/(drive|stdin|service-worker-heartbeat)/

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(KEPT).then((cache) => cache.addAll(NOTEBOOKS)))
})

self.addEventListener("activate", (event) => {
  event.waitUntil(dropOthers())
})

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request
  if (method !== "GET" || !url.startsWith(self.location.origin) || JUPYTERLITE.test(url)) return
  event.stopImmediatePropagation()
  event.respondWith(FIXED.test(url) ? keptFirst(event.request) : siteFirst(event.request))
})

// A page tells what it loaded before this worker watched it.
self.addEventListener("message", (event) => {
  if (event.data?.loaded) event.waitUntil(keepAll(event.data.loaded))
})

async function dropOthers() {
  const names = await caches.keys()
  const old = names.filter((name) => name.startsWith("costlab-labs-") && name !== KEPT)
  await Promise.all(old.map((name) => caches.delete(name)))
}

function kept(request) {
  return caches.open(KEPT).then((cache) => cache.match(request, { ignoreSearch: true }))
}

async function keptFirst(request) {
  return (await kept(request)) ?? keep(request, await fetch(request))
}

async function siteFirst(request) {
  try {
    return await keep(request, await fetch(request))
  } catch (error) {
    const answer = await kept(request)
    if (answer) return answer
    throw error
  }
}

async function keep(request, answer) {
  if (answer.status === 200) {
    const cache = await caches.open(KEPT)
    await cache.put(request, answer.clone()).catch(() => undefined) // a full disk is no reason to show nothing
  }
  return answer
}

async function keepAll(addresses) {
  const cache = await caches.open(KEPT)
  const mine = addresses.filter((address) => address.startsWith(self.location.origin) && !JUPYTERLITE.test(address))
  const missing = []
  for (const address of mine) if (!(await cache.match(address, { ignoreSearch: true }))) missing.push(address)
  await Promise.all(missing.map(async (address) => keep(address, await fetch(address)).catch(() => undefined)))
}

importScripts("jupyterlite-service-worker.js")

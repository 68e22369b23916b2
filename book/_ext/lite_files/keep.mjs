// Tells the service worker, once it watches this page, what the page loaded before.
function tell() {
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name)
  navigator.serviceWorker.controller?.postMessage({ loaded: [location.href, ...loaded] })
}

if ("serviceWorker" in navigator && !navigator.serviceWorker.controller) {
  navigator.serviceWorker.addEventListener("controllerchange", tell, { once: true })
}

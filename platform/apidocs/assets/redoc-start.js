Redoc.init(document.currentScript.dataset.document, { hideDownloadButton: false, nativeScrollbars: true }, document.getElementById("ui"));

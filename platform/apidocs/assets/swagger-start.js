SwaggerUIBundle({
  url: document.currentScript.dataset.document,
  dom_id: "#ui",
  deepLinking: true,
  persistAuthorization: true,
  validatorUrl: null, // it would show the document to another host
});

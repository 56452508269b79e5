package web

import (
	"net/http"

	"user-service/platform/telemetry"
)

// Trace gives each request a span. It stands inside Observe, which gathers what the span tells.
func Trace(next http.Handler, tracer *telemetry.Tracer) http.Handler {
	if tracer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx, span := tracer.Begin(req.Context(), telemetry.Server, method(req))
		reply, observed := w.(*recorder)
		if !observed {
			reply = &recorder{ResponseWriter: w}
		}
		status := http.StatusInternalServerError // of a panic
		defer func() {
			if seen, ok := ctx.Value(observationKey{}).(*observation); ok {
				span.Rename(method(req) + " " + seen.route)
				span.Set("http.route", seen.route)
			}
			span.Set("http.request.method", method(req))
			span.SetNumber("http.response.status_code", status)
			span.End(status >= http.StatusInternalServerError)
		}()
		next.ServeHTTP(reply, req.WithContext(ctx))
		status = max(reply.status, http.StatusOK)
	})
}

package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

// accessTokens gives a token to whoever sends, until shortly before it expires. oauth2's own source would
// have them wait one after the other for a server that is silent, and keeps a token that is refused.
type accessTokens struct {
	account ServiceAccount
	client  *http.Client

	mu     sync.Mutex
	token  *oauth2.Token
	asking singleflight.Group
}

func newAccessTokens(account ServiceAccount, p poster) *accessTokens {
	return &accessTokens{account: account, client: &http.Client{
		Transport: p.transport, Timeout: p.within,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// current is *Away where there is no token to be had.
func (t *accessTokens) current(ctx context.Context) (*oauth2.Token, error) {
	t.mu.Lock()
	token := t.token
	t.mu.Unlock()
	if token.Valid() {
		return token, nil
	}
	asked := t.asking.DoChan("", func() (any, error) { // all who wait get the same answer
		ctx := context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, t.client)
		token, err := t.account.config.TokenSource(ctx).Token()
		if err == nil {
			t.mu.Lock()
			t.token = token
			t.mu.Unlock()
		}
		return token, err
	})
	select {
	case answer := <-asked:
		if answer.Err != nil {
			return nil, noToken(answer.Err)
		}
		token, _ := answer.Val.(*oauth2.Token)
		return token, nil
	case <-ctx.Done():
		return nil, noToken(ctx.Err())
	}
}

// drop has the next one ask anew, unless that was done already.
func (t *accessTokens) drop(token *oauth2.Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == token {
		t.token = nil
	}
}

// noToken is the fault of the settings where Google refuses, and an outage otherwise.
func noToken(err error) *Away {
	const what = "no access token for FCM"
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		var fault struct{ Error string } // RFC 6749 section 5.2
		_ = json.Unmarshal(refused.Body, &fault)
		status := refused.Response.StatusCode
		ours := status/100 == 4 && status != http.StatusTooManyRequests
		return &Away{Cause: fmt.Errorf("%s: %d %.40q", what, status, fault.Error), RetryAfter: fcmRest, Everybody: ours, Settings: ours}
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return &Away{Cause: fmt.Errorf("%s: %w", what, err), RetryAfter: fcmRest}
}

package main

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

const (
	verifyPath  = "/api/v1/auth/verify-email/"
	resendPath  = "/api/v1/auth/verify-email/resend/"
	resetPath   = "/api/v1/auth/password-reset/"
	confirmPath = "/api/v1/auth/password-reset/confirm/"
	changePath  = "/api/v1/auth/password-change/"
)

const otherPassword = "an entirely different phrase"

// exec changes the database behind the service's back: mostly it lets time pass.
func (s *stack) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := s.open(t).Exec(t.Context(), statement, args...)
	require.NoError(t, err)
}

// wishesGranted waits until nobody waits for a mail any more.
func (s *stack) wishesGranted(t *testing.T) {
	t.Helper()
	db := s.open(t)
	servertest.Eventually(t, func() bool {
		var left int
		require.NoError(t, db.Get(t.Context(), &left, `SELECT count(*) FROM auth.mail_wishes`))
		return left == 0
	}, "every wish for a mail was looked into")
}

func TestEmailIsVerifiedByTheMailedTokenOnce(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	a, b := s.start(t), s.start(t)
	broker := s.broker(t)
	listening := broker.listen()
	k := a.register()
	require.Equal(t, false, k.User["email_verified"])
	m := broker.mail(k.User["email"], "email_verification")
	require.Equal(t, "email", m.NotificationType)
	require.Equal(t, k.id(), m.UserID)
	require.NotEmpty(t, m.RequestID)
	require.Equal(t, map[string]any{
		"name": "Grace Hopper", "token": m.token(), "expires_in_minutes": 1440.0,
		"link": "https://app.example.com/verify-email?token=" + m.token(),
	}, m.Variables)
	require.Len(t, m.token(), 43, "256 bits")

	r := b.call("GET", verifyPath+"?token="+m.token(), "", nil)
	require.Equal(t, 405, r.Status, "a scanner of mail opens links")
	require.Equal(t, 200, b.call("POST", verifyPath, "", map[string]any{"token": m.token()}).Status)
	for _, i := range []*instance{a, b} {
		var user map[string]any
		i.call("GET", "/api/v1/users/me/", k.AccessToken, nil).into(t, &user)
		require.Equal(t, true, user["email_verified"])
	}
	for _, used := range []string{m.token(), "", "x", m.token() + "x", "%00"} {
		r := a.call("POST", verifyPath, "", map[string]any{"token": used})
		require.Equal(t, 400, r.Status, used)
		require.Equal(t, "invalid_token", r.Error)
	}
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "user.email_verified")) == 1 }, "the event")
	require.Equal(t, map[string]any{"user_id": k.id(), "email": k.User["email"]}, listening.of(k.id(), "user.email_verified")[0].Data)

	s.exec(t, `UPDATE auth.one_time_tokens SET sent_at = now() - interval '2 minutes'`)
	require.Equal(t, 200, a.call("POST", resendPath, "", map[string]any{"email": k.User["email"]}).Status)
	s.wishesGranted(t)
	var open int
	require.NoError(t, s.open(t).Get(t.Context(), &open, `SELECT count(hash) FROM auth.one_time_tokens`))
	require.Zero(t, open, "who is verified needs no mail")
}

func TestTokenIsOfNoUseForAnotherPurposeOrAfterItsTime(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	broker := s.broker(t)
	k := i.register()
	verification := broker.mail(k.User["email"], "email_verification").token()
	reset := func(token string) reply {
		return i.call("POST", confirmPath, "", map[string]any{"token": token, "password": otherPassword, "password_confirm": otherPassword})
	}
	require.Equal(t, "invalid_token", reset(verification).Error)
	i.call("POST", resetPath, "", map[string]any{"email": k.User["email"]})
	m := broker.mail(k.User["email"], "password_reset")
	require.InDelta(t, 60, m.Variables["expires_in_minutes"], 0)
	require.Equal(t, "https://app.example.com/reset-password?token="+m.token(), m.Variables["link"])
	require.Equal(t, "invalid_token", i.call("POST", verifyPath, "", map[string]any{"token": m.token()}).Error)

	var lifetimes []int
	require.NoError(t, s.open(t).Select(t.Context(), &lifetimes, `
		SELECT round(extract(epoch FROM expires_at - sent_at))::int FROM auth.one_time_tokens ORDER BY purpose`))
	require.Equal(t, []int{24 * 3600, 3600}, lifetimes)
	s.exec(t, `UPDATE auth.one_time_tokens SET expires_at = now() - interval '1 second'`)
	require.Equal(t, "invalid_token", reset(m.token()).Error)
	require.Equal(t, "invalid_token", i.call("POST", verifyPath, "", map[string]any{"token": verification}).Error)
}

func TestNewTokenVoidsTheOlderAndMailsAreFewAndFarBetween(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	broker := s.broker(t)
	k := i.register()
	tokens := []string{broker.mail(k.User["email"], "email_verification").token()}
	var hash []byte
	current := func() []byte {
		s.wishesGranted(t)
		require.NoError(t, s.open(t).Get(t.Context(), &hash, `SELECT hash FROM auth.one_time_tokens WHERE account_id = $1`, k.id()))
		return hash
	}
	resend := func() {
		require.Equal(t, 200, i.call("POST", resendPath, "", map[string]any{"email": k.User["email"]}).Status)
	}
	before := current()
	resend()
	require.Equal(t, before, current(), "within a minute of the one before")
	for range 4 {
		s.exec(t, `UPDATE auth.one_time_tokens SET sent_at = sent_at - interval '61 seconds'`)
		resend()
		tokens = append(tokens, broker.mail(k.User["email"], "email_verification").token())
	}
	s.exec(t, `UPDATE auth.one_time_tokens SET sent_at = sent_at - interval '61 seconds'`)
	before = current()
	resend()
	require.Equal(t, before, current(), "the sixth in a day")
	s.exec(t, `UPDATE auth.one_time_tokens SET counting_since = now() - interval '25 hours'`)
	resend()
	tokens = append(tokens, broker.mail(k.User["email"], "email_verification").token())
	for _, old := range tokens[:5] {
		require.Equal(t, "invalid_token", i.call("POST", verifyPath, "", map[string]any{"token": old}).Error)
	}
	require.Equal(t, 200, i.call("POST", verifyPath, "", map[string]any{"token": tokens[5]}).Status)
}

// TestNobodyLearnsOfAnAccountByAskingForAMail compares everything a stranger sees. The time cannot
// tell either: no request looks for the account.
func TestNobodyLearnsOfAnAccountByAskingForAMail(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	broker := s.broker(t)
	active, gone := i.register(), i.register()
	require.Equal(t, 200, i.call("DELETE", "/api/v1/users/me/", gone.AccessToken, nil).Status)
	for _, path := range []string{resendPath, resetPath} {
		var seen []reply
		for _, email := range []any{active.User["email"], gone.User["email"], "nobody@example.com"} {
			r := i.call("POST", path, "", map[string]any{"email": email})
			require.Equal(t, 200, r.Status)
			r.Header = nil
			seen = append(seen, r)
		}
		require.Equal(t, seen[0], seen[1])
		require.Equal(t, seen[0], seen[2])
		r := i.call("POST", path, "", map[string]any{"email": "no address"})
		require.Contains(t, r.Errors, "email")
	}
	s.wishesGranted(t)
	require.Equal(t, active.id(), broker.mail(active.User["email"], "password_reset").UserID)
	var accounts []string
	require.NoError(t, s.open(t).Select(t.Context(), &accounts, `SELECT account_id FROM auth.one_time_tokens WHERE purpose = 'password_reset'`))
	require.Equal(t, []string{active.id()}, accounts, "nobody else is mailed to")
}

func TestResetSetsThePasswordOnceAndEndsEverySession(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	a, b := s.start(t), s.start(t)
	broker := s.broker(t)
	listening := broker.listen()
	k := a.register()
	second := b.login(k)
	require.Equal(t, 200, a.call("POST", resetPath, "", map[string]any{"email": k.User["email"]}).Status)
	token := broker.mail(k.User["email"], "password_reset").token()

	r := a.call("POST", confirmPath, "", map[string]any{"token": token, "password": "7777777", "password_confirm": "other"})
	require.Equal(t, "validation_failed", r.Error)
	require.Equal(t, []string{"This password is too short. It must contain at least 8 characters.", "This password is entirely numeric."}, r.Errors["password"])
	require.Equal(t, []string{"The two passwords are not the same."}, r.Errors["password_confirm"])
	r = a.call("POST", confirmPath, "", map[string]any{"token": token, "password": "grace hopper", "password_confirm": "grace hopper"})
	require.Equal(t, []string{"The password is too similar to the name."}, r.Errors["password"])

	statuses := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for n := range 6 {
		all.Go(func() {
			i := []*instance{a, b}[n%2]
			r := i.call("POST", confirmPath, "", map[string]any{"token": token, "password": otherPassword, "password_confirm": otherPassword})
			mu.Lock()
			defer mu.Unlock()
			statuses[r.Status]++
			require.True(t, r.Status == 200 || r.Error == "invalid_token", r.Error)
		})
	}
	all.Wait()
	require.Equal(t, map[int]int{200: 1, 400: 5}, statuses)
	reset := time.Now()
	for _, i := range []*instance{a, b} {
		i.refusesWithinASecond(k.AccessToken, reset)
		i.refusesWithinASecond(second.AccessToken, reset)
		_, r := i.refresh(second.RefreshToken)
		require.Equal(t, 401, r.Status)
	}
	r = a.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": k.User["email"], "password": goodPassword})
	require.Equal(t, "invalid_credentials", r.Error)
	r = a.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": k.User["email"], "password": otherPassword})
	require.Equal(t, 200, r.Status)
	var back tokens
	r.into(t, &back)
	require.Equal(t, true, back.User["email_verified"], "the mail was read")
	servertest.Eventually(t, func() bool {
		return len(listening.of(k.id(), "user.password_changed", "user.email_verified", "session.revoked")) == 3
	}, "the events")
	require.Equal(t, map[string]any{"user_id": k.id(), "reason": "reset"}, listening.of(k.id(), "user.password_changed")[0].Data)
	require.Equal(t, map[string]any{"user_id": k.id(), "session_id": nil, "reason": "password_changed"}, listening.of(k.id(), "session.revoked")[0].Data)
}

func TestChangedPasswordEndsEverySessionAndOpensANewOne(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	a, b := s.start(t), s.start(t)
	broker := s.broker(t)
	k := a.register()
	second := b.login(k)
	a.call("POST", resetPath, "", map[string]any{"email": k.User["email"]})
	reset := broker.mail(k.User["email"], "password_reset").token()

	change := func(current, password, confirm string) reply {
		return a.call("POST", changePath, k.AccessToken, map[string]any{"current_password": current, "password": password, "password_confirm": confirm})
	}
	require.Equal(t, []string{"This is not your current password."}, change("wrong", otherPassword, otherPassword).Errors["current_password"])
	require.Equal(t, []string{"The new password must be another one."}, change(goodPassword, goodPassword, goodPassword).Errors["password"])
	require.Contains(t, change(goodPassword, otherPassword, "x").Errors, "password_confirm")
	require.Contains(t, change(goodPassword, "short", "short").Errors, "password")

	r := change(goodPassword, otherPassword, otherPassword)
	require.Equal(t, 200, r.Status)
	changed := time.Now()
	var fresh tokens
	r.into(t, &fresh)
	require.Equal(t, "token_invalid", a.call("GET", "/api/v1/users/me/", k.AccessToken, nil).Error, "the old token, at once")
	b.refusesWithinASecond(k.AccessToken, changed)
	b.refusesWithinASecond(second.AccessToken, changed)
	require.Len(t, b.sessions(fresh), 1)
	next, r := b.refresh(fresh.RefreshToken)
	require.Equal(t, 200, r.Status)
	require.Equal(t, 200, a.call("GET", "/api/v1/users/me/", next.AccessToken, nil).Status)
	r = a.call("POST", confirmPath, "", map[string]any{"token": reset, "password": goodPassword, "password_confirm": goodPassword})
	require.Equal(t, "invalid_token", r.Error, "a reset that was asked for before is void")
	r = b.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": k.User["email"], "password": otherPassword})
	require.Equal(t, 200, r.Status)
}

// TestMailedTokensEndWithTheAccount keeps an old mail from working once the account is opened again.
func TestMailedTokensEndWithTheAccount(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	broker := s.broker(t)
	admin, k := s.staff(i), i.register()
	verification := broker.mail(k.User["email"], "email_verification").token()
	i.call("POST", resetPath, "", map[string]any{"email": k.User["email"]})
	reset := broker.mail(k.User["email"], "password_reset").token()
	for _, active := range []bool{false, true} {
		require.Equal(t, 200, i.call("PATCH", "/api/v1/users/"+k.id()+"/", admin.AccessToken, map[string]any{"is_active": active}).Status)
	}
	require.Equal(t, "invalid_token", i.call("POST", verifyPath, "", map[string]any{"token": verification}).Error)
	r := i.call("POST", confirmPath, "", map[string]any{"token": reset, "password": otherPassword, "password_confirm": otherPassword})
	require.Equal(t, "invalid_token", r.Error)
	i.login(k)
}

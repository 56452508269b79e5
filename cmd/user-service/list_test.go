package main

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/postgres"
)

// directory is a service with users whom nobody registered, and the staff to look for them.
type directory struct {
	*instance
	db    *postgres.DB
	token string
}

func newDirectory(t *testing.T) directory {
	t.Helper()
	s := newStack(t)
	i := s.start(t)
	staff := s.staff(i)
	d := directory{i, s.open(t), staff.AccessToken}
	d.add(t, `VALUES ('Zoe Staff', 'zoe@example.org', true,true, 0)`) // who is found by no search below
	_, err := d.db.Exec(t.Context(), `DELETE FROM profile.users WHERE id = $1`, staff.id())
	require.NoError(t, err)
	return d
}

// add makes users of rows of name, email, is_active, email_verified, and age in minutes.
func (d directory) add(t *testing.T, rows string) {
	t.Helper()
	_, err := d.db.Exec(t.Context(), `
		INSERT INTO profile.users (id, name, email, is_active, email_verified, created_at, updated_at)
		SELECT gen_random_uuid(), name, email, active, verified, now() - age * interval '1 minute', now() + age * interval '1 minute'
		FROM (`+rows+`) AS u (name, email, active, verified, age)`)
	require.NoError(t, err)
}

func (d directory) list(query string) reply {
	d.t.Helper()
	return d.call("GET", "/api/v1/users/"+query, d.token, nil)
}

// names are the first names that a list shows.
func (d directory) names(query string) []string {
	d.t.Helper()
	r := d.list(query)
	require.Equal(d.t, 200, r.Status, "%s: %v", query, r.Errors)
	var users []struct{ Name string }
	r.into(d.t, &users)
	names := []string{}
	for _, u := range users {
		first, _, _ := strings.Cut(u.Name, " ")
		names = append(names, first)
	}
	return names
}

func (d directory) search(text string) []string {
	d.t.Helper()
	return d.names("?ordering=email&search=" + url.QueryEscape(text))
}

func TestStaffListsAndFindsUsers(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	d.add(t, `VALUES
		('Ada Lovelace', 'ada@example.com', true,true, 3),
		('Émile Zola-Lefèvre', 'Emile@example.com', false, true, 2),
		('Grace O''Hopper', 'g_race@example.com', true, false, 1),
		('Ärzte Percent', 'h%@example.com', false,false, 4)`)

	for search, found := range map[string][]string{
		"ADA":         {"Ada"},
		"aDA@Exam":    {"Ada"},
		"love ada":    {"Ada"},
		"ada grace":   {},
		"lace":        {}, // within a word
		"émi":         {"Émile"},
		"E\u0301mi":   {"Émile"}, // the same letters, written in another way
		"ÄRZ":         {"Ärzte"},
		"lefè":        {"Émile"},
		"zola-l":      {"Émile"},
		"emile@EX":    {"Émile"},
		"o'hop":       {"Grace"},
		"hopper":      {"Grace"},
		"g_":          {"Grace"},
		"a_a@":        {},
		"%":           {},
		"h%":          {"Ärzte"},
		`\`:           {},
		"'":           {},
		"':* | 'ada":  {},
		"!ada":        {},
		"ada:*":       {},
		"<->":         {},
		"  ada  ":     {"Ada"},
		"nobody":      {},
		"\U0010ffff":  {},
		"e  perc":     {},
		"percent ärz": {"Ärzte"},
	} {
		require.Equal(t, found, d.search(search), search)
	}

	for query, found := range map[string][]string{
		"":                                      {"Zoe", "Grace", "Émile", "Ada", "Ärzte"},
		"?search=":                              {"Zoe", "Grace", "Émile", "Ada", "Ärzte"},
		"?ordering=-created_at":                 {"Zoe", "Grace", "Émile", "Ada", "Ärzte"},
		"?ordering=created_at":                  {"Ärzte", "Ada", "Émile", "Grace", "Zoe"},
		"?ordering=email":                       {"Ada", "Émile", "Grace", "Ärzte", "Zoe"},
		"?ordering=-email":                      {"Zoe", "Ärzte", "Grace", "Émile", "Ada"},
		"?ordering=name&is_active=true":         {"Ada", "Grace", "Zoe"},
		"?ordering=-name&is_active=true":        {"Zoe", "Grace", "Ada"},
		"?is_active=false":                      {"Émile", "Ärzte"},
		"?email_verified=false":                 {"Grace", "Ärzte"},
		"?is_active=false&email_verified=false": {"Ärzte"},
		"?is_active=true&search=emile":          {},
		"?limit=2&page=2":                       {"Émile", "Ada"},
		"?limit=2&page=4":                       {},
	} {
		require.Equal(t, found, d.names(query), query)
	}
	require.Equal(t, map[string]any{"total": 5., "limit": 2., "page": 2., "total_pages": 3., "has_next": true, "has_previous": true}, d.list("?limit=2&page=2").Meta)
	require.JSONEq(t, "[]", string(d.list("?search=nobody").Data))
}

func TestListSaysWhatItDoesNotTake(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	for query, field := range map[string]string{
		"?ordering=password": "ordering", "?ordering=": "ordering", "?ordering=--name": "ordering", "?ordering=name,email": "ordering", "?ordering=-": "ordering",
		"?limit=101": "limit", "?limit=0": "limit", "?page=0": "page", "?page=-1": "page", "?page=99999999999999999999": "page",
		"?page=1000000&limit=100": "page", "?page=501": "page", "?page=101&limit=100": "page",
		"?search=a;b": "query", "?search=%zz": "query", "?is_active=false;": "query",
		"?page=1&page=2": "page", "?search=a&search=b": "search", "?is_active=true&is_active=false": "is_active",
		"?is_active=maybe": "is_active", "?email_verified=": "email_verified",
		"?search=%00": "search", "?search=%ff": "search", "?search=a%0ab": "search",
		"?search=" + strings.Repeat("a", 256): "search", "?search=a+b+c+d+e+f": "search",
	} {
		r := d.list(query)
		require.Equal(t, 400, r.Status, query)
		require.Equal(t, "validation_failed", r.Error, query)
		require.Contains(t, r.Errors, field, query)
	}
	require.Equal(t, []string{"Must be one of -created_at, -email, -name, created_at, email, name."}, d.list("?ordering=x").Errors["ordering"])
	require.Equal(t, 200, d.list("?page=500&search="+strings.Repeat("%C3%A4", 255)).Status)

	require.Equal(t, 403, d.call("GET", "/api/v1/users/", d.register().AccessToken, nil).Status)
	require.Equal(t, 401, d.call("GET", "/api/v1/users/", "", nil).Status)
}

// TestWordsAreFoundByTheirFirstSixteenLetters whether they are two or one, also in scripts of more bytes.
func TestWordsAreFoundByTheirFirstSixteenLetters(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	d.add(t, `VALUES
		('Ann Constantinopolitan', 'ann@example.com', true,true, 1),
		('Bob Constantinopolis', 'bob@example.com', true,true, 2),
		('Cyd Достопримечательности', 'cyd@example.com', true,true, 3),
		('Dan ' || repeat('x', 251), 'dan@example.com', true,true, 4),
		('Eve ' || repeat(U&'\3316', 114), 'eve@example.com', true,true, 5),
		('Fay ' || repeat(U&'\3316', 251), 'fay@example.com', true,true, 6)`)
	for search, found := range map[string][]string{
		"constantinop":          {"Ann", "Bob"},
		"constantinopolis":      {"Bob"}, // sixteen
		"constantinopolit":      {"Ann"},
		"constantinopolitalian": {"Ann"},
		"cyd достопримечательность":       {"Cyd"},
		"dan " + strings.Repeat("x", 100): {"Dan"},
		strings.Repeat("x", 255):          {"Dan"},
		strings.Repeat("\u3316", 114):     {"Eve", "Fay"}, // one becomes six, and as many more than a lexeme has room for
		strings.Repeat("\u3316", 255):     {"Eve", "Fay"},
		"достопримечание":                 {},
	} {
		require.Equal(t, found, d.search(search), search)
	}
}

// TestListOfVeryManyIsEstimated has so many users of one name that they are not sorted, and some at
// the end of the alphabet that an index in its order is led past.
func TestListOfVeryManyIsEstimated(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	d.add(t, `SELECT 'Ada Constantinopolitan ' || CASE n % 1000 WHEN 0 THEN 'Rare' ELSE 'Common' || n % 300 END, n || '@example.com', n % 2 = 0, true, n FROM generate_series(1, 36000) n`)
	_, err := d.db.Exec(t.Context(), `ANALYZE profile.users`)
	require.NoError(t, err)

	for _, query := range []string{"", "?search=common&ordering=-name", "?search=constantinopolitalian+ada", "?search=ada", "?is_active=true", "?search=ada+comm&ordering=name&page=3"} {
		r := d.list(query)
		require.Equal(t, 200, r.Status, query)
		require.Equal(t, true, r.Meta["total_is_estimate"], query)
		require.InDelta(t, 36000, r.Meta["total"], 20000, query)
		require.InDelta(t, 500, r.Meta["total_pages"], 0, query)
		require.Len(t, d.names(query), 20, query)
	}
	last := d.list("?page=500").Meta
	require.Equal(t, []any{false, true}, []any{last["has_next"], last["has_previous"]})
	require.Equal(t, map[string]any{"total": 36., "limit": 20., "page": 2., "total_pages": 2., "has_next": false, "has_previous": true}, d.list("?search=rare&page=2").Meta)

	d.add(t, `SELECT 'Zora Common', 'z' || n || '@example.com', true,true, n FROM generate_series(1, 10100) n`)
	_, err = d.db.Exec(t.Context(), `ANALYZE profile.users`)
	require.NoError(t, err)
	require.Equal(t, "Ada", d.names("?search=ada&ordering=name")[0])
	r := d.list("?search=ada&ordering=-name")
	require.Equal(t, 400, r.Status)
	require.Contains(t, r.Errors["search"][0], "too many")
}

// TestSearchThatFindsMoreThanWasThoughtIsInOrder: nobody knows how common a word is right after an import.
func TestSearchThatFindsMoreThanWasThoughtIsInOrder(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	_, err := d.db.Exec(t.Context(), `ALTER TABLE profile.users SET (autovacuum_enabled = false)`)
	require.NoError(t, err)
	d.add(t, `SELECT 'Ann' || n, 'ann' || lpad(n::text, 6, '0') || '@example.com', true,true, 1 FROM generate_series(40000, 1, -1) n`)
	require.Equal(t, []string{"Ann1", "Ann2"}, d.names("?ordering=email&search=ann&limit=2"))
	require.Equal(t, true, d.list("?ordering=email&search=ann").Meta["total_is_estimate"])
}
